"""Names and notes that some program takes for a command, markup or a formula."""

NASTY = {
    "dollars": "US$ and A$ coins",
    "formula of matplotlib": r"a $\bad$ b",
    "markup of rich": "[/b] [bold]x[/bold] [link=http://a.b]y[/link] :dog:",
    "HTML": "<script>alert(1)</script> & \"double\" 'single' <!--",
    "formula of a spreadsheet": '=HYPERLINK("http://a.b";"c")',
    "negative formula": "-2+3 cats",
    "positive formula": "+3-2 cats",
    "function of a spreadsheet": "@SUM(A1)",
    "apostrophe": "'=1+1",
    "Markdown": "a|b `code` *bold* _it_ [c](http://a.b) ![d](e) # ~~f~~ \\",
    "LaTeX": r"100% \input{x} {y} ^ ~ & # _ \\",
    "NUL": "a\0b",
    "line breaks": "a\nb\r\nc\td\u2028e",
    "commands of a terminal": "\x1b[31mred\x1b]0;title\x07\x9b1m",
    "right to left": "\u202egnp.exe \u200f",
    "half a surrogate pair": "half \ud800 pair",
    "leading underscore": "_hidden",
    "scripts without a glyph": "\u86d9 \U0001f438",
    "long": "L" * 200_000,
}
NAMES = tuple(NASTY.values())
# UTF-8 has no half of a surrogate pair, so no name of a file or class may hold one.
IN_FILES = tuple(name for name in NAMES if "\ud800" not in name)


def is_safe_to_print(text):
    """Whether a terminal shows all characters of a text and obeys none."""
    return all(c.isprintable() or c in "\n\u200c\u200d" for c in text)
