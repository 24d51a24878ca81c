"""Reads a page as a browser does."""

import html.parser


class Page(html.parser.HTMLParser):
    """Collects open tags, ids, links, text, and addresses that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.fetched, self.open = set(), [], [], []
        self.tags, self.text, self.values = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)
        self.ids.add(found.get("id"))
        if "data-v" in found:
            self.values.append(float(found["data-v"]))
        for name, value in found.items():
            if name == "href":
                self.links.append(value)
            elif name in ("src", "srcset", "data", "action"):
                self.fetched.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
