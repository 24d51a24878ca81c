"""Tables of a report, and their form in Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass


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


def markdown(table: Table) -> str:
    """Formats a table with its title and note as Markdown."""
    kinds = ["---:" if table.is_number(i) else "---" for i in range(len(table.columns))]
    lines = [
        "| " + " | ".join(map(_escape_pipes, table.columns)) + " |",
        f"|{'|'.join(kinds)}|",
    ]
    for row in table.fields():
        lines.append("| " + " | ".join(map(_markdown_field, row)) + " |")
    parts = [f"**{table.title}**", "\n".join(lines)]
    return "\n\n".join([*parts, table.note] if table.note else parts) + "\n"


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
    return csv_text(names, lines)


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


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Formats rows as CSV; None becomes an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def _escape_pipes(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _markdown_field(field: Field) -> str:
    text = _escape_pipes(field.text)
    text = f"**{text}**" if field.strong else text
    return f"{text} ({_escape_pipes(field.under)})" if field.under else text
