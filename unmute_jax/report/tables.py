"""Tables of a report, and their form in Markdown and CSV."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

from unmute_jax.datasets.tables import csv_text
from unmute_jax.errors import printable


@dataclass(frozen=True)
class Field:
    """The content of one position in a table.

    Attributes:
        text: The text that is shown.
        value: The number to sort by, which is also written to CSV, rounded as in
            `text`; None if `text` is used for both.
        under: A second line in small print.
        strong: Whether the text is bold, as for the best value of a column.
    """

    text: str
    value: float | None = None
    under: str = ""
    strong: bool = False


NOT_RUN = Field("–")
# Where there is a cell but no such number; a dash would say that it was not run.
UNKNOWN = Field("n/a")
DIVERGED = Field("diverged")
# A longer text would hide the rest of the table.
LONGEST = 1000
# Underscores within a word are those of names.
_MARKDOWN = re.compile(r"[\\`*\[\]<|~$]|(?<![^\W_])_|_(?![^\W_])")
_NUMBER = re.compile(r"[+−-]?\d[\d,]*(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with a title and a note.

    Attributes:
        name: The name of its CSV file, and the target of references in LaTeX.
        title: The title above the table.
        columns: The names of the columns.
        rows: The rows, with one field per column. A string stands for `Field(text)`.
        note: The text below the table.
        has_small_print_in_latex: Whether LaTeX shows the second lines of fields, too.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Field | str, ...], ...]
    note: str = ""
    has_small_print_in_latex: bool = True

    def fields(self) -> list[list[Field]]:
        """All rows, with strings converted to fields."""
        return [[f if isinstance(f, Field) else Field(f) for f in r] for r in self.rows]

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, which are aligned to the right."""
        return any(row[column].value is not None for row in self.fields())


def number(value: float | int, digits: int = 2, sign: bool = False) -> Field:
    """A field with a number, or "n/a" if the number is not finite."""
    if not math.isfinite(value):
        return UNKNOWN
    text = signed(value, digits) if sign else f"{value:.{digits}f}"
    return Field(text.replace("-", "−"), float(value))


def signed(value: float, digits: int = 2) -> str:
    """Formats a number with a plus or a minus sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def between(low: float, high: float, digits: int = 2) -> str:
    """Formats an interval as `[low, high]`; an unknown one becomes an empty string."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    text = f"[{low:.{digits}f}, {high:.{digits}f}]"
    return text.replace("-", "−")


def counted(count: int, noun: str) -> str:
    """Formats a count with its noun, as in "2 seeds"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def visible(text: str) -> str:
    """A text as readers see it: cut if it is very long, and without hidden characters.

    Args:
        text: The text, in which names from outside may occur.
    """
    text = printable(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def shown(table: Table) -> Table:
    """The table with texts as readers see them (see `visible`)."""
    return dataclasses.replace(
        table,
        title=visible(table.title),
        columns=tuple(map(visible, table.columns)),
        rows=tuple(
            tuple(
                dataclasses.replace(f, text=visible(f.text), under=visible(f.under))
                for f in row
            )
            for row in table.fields()
        ),
        note=visible(table.note),
    )


def escape_markdown(text: str) -> str:
    """Escapes the characters that have a meaning in Markdown, or in HTML within it."""
    return _MARKDOWN.sub(r"\\\g<0>", text).replace("&", "&amp;").replace("\n", " ")


def markdown(table: Table) -> str:
    """Formats a table with its title and note as Markdown."""
    kinds = ["---:" if table.is_number(i) else "---" for i in range(len(table.columns))]
    lines = [
        "| " + " | ".join(map(escape_markdown, table.columns)) + " |",
        f"|{'|'.join(kinds)}|",
    ]
    for row in table.fields():
        lines.append("| " + " | ".join(map(_markdown_field, row)) + " |")
    parts = [f"**{escape_markdown(table.title)}**", "\n".join(lines)]
    note = [escape_markdown(table.note)] if table.note else []
    return "\n\n".join([*parts, *note]) + "\n"


def as_csv(table: Table) -> str:
    """Formats a table as CSV, with numbers rounded as the page shows them.

    A column whose fields show more than a number, such as ± and an interval, is
    followed by one with all that is shown.
    """
    rows = table.fields()
    columns: list[list[str]] = []
    for name, *fields in zip(table.columns, *rows, strict=True):
        columns.append([name, *map(_plain, fields)])
        whole = [f"{f.text} {f.under}".strip() for f in fields]
        if any(
            f.value is not None and _is_more_than_a_number(text)
            for f, text in zip(fields, whole, strict=True)
        ):
            columns.append([f"{name} (as shown)", *whole])
    names, *lines = zip(*columns, strict=True)
    return csv_text([names, *lines])


def _plain(field: Field) -> str:
    """The number of a field with as many decimals as are shown, or its text."""
    if field.value is None:
        return field.text
    shown = _NUMBER.search(field.text)
    if shown is None:
        return repr(field.value)
    text = shown[0].replace("−", "-").replace(",", "").lstrip("+")
    digits = len(text.partition(".")[2])
    # A text such as "1.2 million" shows another number.
    return text if f"{field.value:.{digits}f}" == text else repr(field.value)


def _is_more_than_a_number(text: str) -> bool:
    return _NUMBER.sub("", text, count=1).strip() not in ("", "%")


def _markdown_field(field: Field) -> str:
    text = escape_markdown(field.text)
    text = f"**{text}**" if field.strong else text
    return f"{text} ({escape_markdown(field.under)})" if field.under else text
