"""A table, and what it looks like as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

# Characters of a text from which on LaTeX breaks it.
LONG = 40


@dataclass(frozen=True)
class Field:
    """What stands in one place of a table.

    Attributes:
        text: What people read.
        value: What it is sorted by, and what a CSV has; None: the text.
        under: A second line, in small.
        strong: Whether it is the best of its column.
    """

    text: str
    value: float | None = None
    under: str = ""
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of fields.

    Attributes:
        name: Of its files, and of its place in the page.
        title: Above it.
        columns: Names.
        rows: One field per column; a plain text stands for `Field(text)`.
        note: Below it.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Field | str, ...], ...]
    note: str = ""

    def fields(self) -> list[list[Field]]:
        """All rows, with every field a `Field`."""
        return [[f if isinstance(f, Field) else Field(f) for f in r] for r in self.rows]

    def is_number(self, column: int) -> bool:
        """Whether the column is set flush right."""
        return any(row[column].value is not None for row in self.fields())


def number(value: float | int, digits: int = 2, sign: bool = False) -> Field:
    """A number as a field; a dash where it is not known."""
    if not math.isfinite(value):
        return Field("–")
    text = signed(value, digits) if sign else f"{value:.{digits}f}"
    return Field(text.replace("-", "−"), float(value))


def signed(value: float, digits: int = 2) -> str:
    """With a plus or a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def between(low: float, high: float, digits: int = 2) -> str:
    """`[low, high]`; nothing where it is not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    text = f"[{low:.{digits}f}, {high:.{digits}f}]"
    return text.replace("-", "−")


def markdown(table: Table) -> str:
    """A pipe table under its title."""
    kinds = ["---:" if table.is_number(i) else "---" for i in range(len(table.columns))]
    lines = [
        "| " + " | ".join(map(_piped, table.columns)) + " |",
        f"|{'|'.join(kinds)}|",
    ]
    for row in table.fields():
        lines.append("| " + " | ".join(map(_in_markdown, row)) + " |")
    parts = [f"**{table.title}**", "\n".join(lines)]
    return "\n\n".join([*parts, table.note] if table.note else parts) + "\n"


def as_csv(table: Table) -> str:
    """Full numbers where there are any, texts elsewhere."""
    return csv_text(
        table.columns,
        [
            [f.text if f.value is None else repr(f.value) for f in row]
            for row in table.fields()
        ],
    )


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines with commas; None is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def latex(table: Table) -> str:
    r"""A `table` with `booktabs` rules; `\input` it where `booktabs` is loaded."""
    kinds = "".join(_kind(table, i) for i in range(len(table.columns)))
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\caption{{{escaped(_sentence(table))}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        " & ".join(map(escaped, table.columns)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_in_latex, row)) + r" \\" for row in table.fields()),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _kind(table: Table, column: int) -> str:
    """Of a column: numbers to the right, long texts in lines of their own."""
    if table.is_number(column):
        return "r"
    longest = max((len(row[column].text) for row in table.fields()), default=0)
    return r"p{0.3\linewidth}" if longest > LONG else "l"


_LATEX = {
    "\\": r"\textbackslash{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "→": r"$\rightarrow$",
    "√": r"$\surd$",
    "τ": r"$\tau$",
    "ρ": r"$\rho$",
    "…": r"\ldots{}",
}


def escaped(text: str) -> str:
    """`text` with what LaTeX would read as a command made harmless."""
    return "".join(_LATEX.get(c, c) for c in text)


def _sentence(table: Table) -> str:
    return f"{table.title}. {table.note}" if table.note else f"{table.title}."


def _piped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _in_markdown(field: Field) -> str:
    text = _piped(field.text)
    text = f"**{text}**" if field.strong else text
    return f"{text} ({_piped(field.under)})" if field.under else text


def _in_latex(field: Field) -> str:
    text = escaped(field.text)
    text = rf"\textbf{{{text}}}" if field.strong else text
    return rf"{text} {{\scriptsize {escaped(field.under)}}}" if field.under else text
