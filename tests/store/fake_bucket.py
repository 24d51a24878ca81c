"""A bucket in memory that answers as Google Cloud Storage does, as far as we ask."""

import http.server
import json
import re
import threading
import urllib.parse


class FakeBucket(http.server.ThreadingHTTPServer):
    """All buckets in one: `objects` by name, each content and generation.

    Attributes:
        refuses: Whether it denies every request.
    """

    def __init__(self):
        super().__init__(("localhost", 0), _Handler)
        self.objects, self.refuses, self._made = {}, False, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def environment(self):
        """What makes tensorstore take it for Google's."""
        return {
            "TENSORSTORE_GCS_HTTP_URL": f"http://localhost:{self.server_address[1]}",
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "nobody",
        }

    def put(self, name, data):
        with self.lock:
            self._made += 1
            self.objects[name] = (data, self._made)
            return self._made

    def files(self, folder):
        """Contents by name within a folder."""
        with self.lock:
            found = {n: data for n, (data, _) in self.objects.items()}
        return {
            n.removeprefix(folder): x for n, x in found.items() if n.startswith(folder)
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, options = self._asked()
        if self.server.refuses:
            self._answer(403, b'{"error": {"code": 403, "message": "not for you"}}')
        elif path.endswith("/o"):
            self._list(options)
        else:
            self._read(urllib.parse.unquote(path.partition("/o/")[2]), options)

    def do_POST(self):
        _, options = self._asked()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        made = self.server.put(options["name"], data)
        self._json({"name": options["name"], "generation": str(made)})

    def do_DELETE(self):
        name = urllib.parse.unquote(self._asked()[0].partition("/o/")[2])
        with self.server.lock:
            there = self.server.objects.pop(name, None)
        self._answer(404 if there is None else 204)

    def _list(self, options):
        first, end = options.get("startOffset", ""), options.get("endOffset", "")
        with self.server.lock:
            names = sorted(self.server.objects)
        found = [n for n in names if n >= first and (not end or n < end)]
        self._json({"items": [{"name": n} for n in found]})

    def _read(self, name, options):
        with self.server.lock:
            data, made = self.server.objects.get(name, (None, 0))
        generation = {"x-goog-generation": str(made)}
        if data is None:
            self._answer(404, b"{}")
        elif options.get("ifGenerationNotMatch") == str(made):
            self._answer(304)
        elif asked := self.headers.get("Range"):
            start, stop = re.fullmatch(r"bytes=(\d*)-(\d*)", asked).groups()
            first = int(start) if start else max(0, len(data) - int(stop))
            end = min(len(data), int(stop) + 1) if start and stop else len(data)
            if first >= end:
                self._answer(416)
                return
            span = {"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}
            self._answer(206, data[first:end], **generation, **span)
        else:
            self._answer(200, data, **generation)

    def _asked(self):
        url = urllib.parse.urlsplit(self.path)
        return url.path, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))

    def _json(self, value):
        self._answer(200, json.dumps(value).encode())

    def _answer(self, code, body=b"", **headers):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""
