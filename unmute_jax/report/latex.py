"""Tables of a report in LaTeX, divided into parts that fit a page of an article."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unmute_jax.errors import printable
from unmute_jax.report.tables import Field, Table

# The width of the text and the height of a page in the class `article` at 10 pt, a bit
# less for safety, in points.
WIDTH, HEIGHT = 340.0, 520.0
# The space beside a column on either side, as `\tabcolsep` sets it below.
MARGIN = 3.0
# The height of a line in \footnotesize, that of a line of the caption, and how many
# letters the latter has at least.
LINE, CAPTION_LINE, CAPTION_LETTERS = 9.5, 12.0, 65
# Letters of a head of a column, and of one word in it, before it is broken into lines.
HEAD_LETTERS, WORD_LETTERS = 8, 12
# Widths of letters in \footnotesize in points, and of \tiny and bold relative to it.
# They are rounded up, and those of other letters are in between.
_WIDTHS = (
    dict.fromkeys("fijlrtI.,:;!'()[]|- ", 3.3)
    | dict.fromkeys("0123456789", 4.3)
    | dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ±−=+w", 6.5)
    | dict.fromkeys("MWm", 8.0)
)
TINY, BOLD = 0.8, 1.15
# LaTeX gives up on a long queue of floats, which \clearpage empties.
MOST_FLOATS = 12

HEAD = r"""% Needs \usepackage{booktabs}. Every float fits the class article at 10 pt.
% Larger tables are divided into several. Names in scripts that pdfLaTeX does not know
% need XeLaTeX or LuaLaTeX with a font that has them.
"""

_LETTERS = {
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
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
}


def escape_latex(text: str) -> str:
    """Escapes the characters that have a meaning in LaTeX."""
    return "".join(_LETTERS.get(c, c) for c in printable(text).replace("\n", " "))


def document(tables: Iterable[Table]) -> str:
    r"""Formats tables as LaTeX, to be read by `\input`."""
    floats = [part for table in tables for part in latex(table)]
    groups = [floats[i : i + MOST_FLOATS] for i in range(0, len(floats), MOST_FLOATS)]
    return HEAD + "\n\\clearpage\n\n".join("\n".join(group) for group in groups)


def latex(table: Table) -> list[str]:
    r"""Formats a table as LaTeX floats with rules of the package `booktabs`.

    Columns and rows that do not fit a page go to further floats, which repeat the
    leading columns of names.
    """
    caption = f"{table.title}. {table.note}" if table.note else f"{table.title}."
    lines = len(caption) // CAPTION_LETTERS + 1
    columns = _columns(table, is_stacked=False)
    if _total(columns) > WIDTH:
        columns = _columns(table, is_stacked=True)
    parts = [
        (chosen, rows)
        for chosen in _divide_columns(columns)
        for rows in _divide_rows(chosen, HEIGHT - lines * CAPTION_LINE)
    ]
    heads = [
        rf"\caption{{{_breakable(caption)}}}\label{{tab:{table.name}}}",
        *[rf"\caption{{{_breakable(table.title)} (continued).}}"] * (len(parts) - 1),
    ]
    return [_float(h, *part) for h, part in zip(heads, parts, strict=True)]


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """A field that is broken into lines.

    Attributes:
        text: The lines of the text.
        beside: What is in small print behind the last line.
        small: The lines in small print below it.
        strong: Whether the text is bold.
    """

    text: tuple[str, ...]
    beside: str = ""
    small: tuple[str, ...] = ()
    strong: bool = False

    @property
    def width(self) -> float:
        """The width of the longest line in points."""
        text = (BOLD if self.strong else 1) * max(map(_width, self.text))
        small = [0.0, *map(_width, self.small)]
        beside = _width(f" {self.beside}") if self.beside else 0.0
        return max(text + TINY * beside, TINY * max(small))

    @property
    def height(self) -> float:
        """The height in points."""
        return LINE * (len(self.text) + len(self.small)) + 2

    def wrapped(self, letters: int) -> _Cell:
        """The same cell with lines of so many letters at most."""
        text = (part for line in self.text for part in _wrap(line, letters, letters))
        small = (part for line in self.small for part in _wrap(line, letters, letters))
        return dataclasses.replace(self, text=tuple(text), small=tuple(small))

    def latex(self, side: str, top: str = "t") -> str:
        """The cell in LaTeX, aligned to a side ("l" or "r") and to its top."""
        lines = [escape_latex(line) for line in self.text]
        if self.strong:
            lines = [rf"\textbf{{{line}}}" for line in lines]
        if self.beside:
            lines[-1] += rf"\,{{\tiny {escape_latex(self.beside)}}}"
        lines += [rf"\tiny {escape_latex(line)}" for line in self.small]
        if len(lines) == 1:
            return lines[0]
        stack = r" \\[-2pt] ".join(lines)
        return rf"\begin{{tabular}}[{top}]{{@{{}}{side}@{{}}}}{stack}\end{{tabular}}"


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of a table: its head, its cells, and whether it holds numbers."""

    head: _Cell
    cells: tuple[_Cell, ...]
    is_number: bool

    @property
    def width(self) -> float:
        """The width in points, without the space beside the column."""
        return max(cell.width for cell in (self.head, *self.cells))

    @property
    def side(self) -> str:
        """The side to which the column is aligned."""
        return "r" if self.is_number else "l"

    def limited(self, width: float) -> _Column:
        """The same column with longer lines broken, so that it is no wider."""
        if self.width <= width:
            return self
        letters = int(width / 5)
        cells = tuple(cell.wrapped(letters) for cell in self.cells)
        return dataclasses.replace(self, head=self.head.wrapped(letters), cells=cells)


def _columns(table: Table, *, is_stacked: bool) -> list[_Column]:
    """The columns of a table, with ± beside each number or, stacked, below it."""
    cells = [[_cell(f, table, is_stacked) for f in row] for row in table.fields()]
    return [
        _Column(
            head=_Cell(text=tuple(_wrap(name, HEAD_LETTERS, WORD_LETTERS))),
            cells=tuple(row[i] for row in cells),
            is_number=table.is_number(i),
        )
        for i, name in enumerate(table.columns)
    ]


def _cell(field: Field, table: Table, is_stacked: bool) -> _Cell:
    text, sign, spread = field.text.partition(" ± ")
    spread = f"± {spread}" if sign else ""
    under = field.under.split("; ") if table.has_small_print_in_latex else []
    return _Cell(
        text=(text,),
        beside="" if is_stacked else spread,
        small=tuple(filter(None, [spread if is_stacked else "", *under])),
        strong=field.strong,
    )


def _width(text: str) -> float:
    return sum((_WIDTHS.get(c, 4.8) for c in text), 0.0)


def _total(columns: Iterable[_Column]) -> float:
    return sum((c.width + 2 * MARGIN for c in columns), 0.0)


def _divide_columns(columns: Sequence[_Column]) -> Iterator[tuple[_Column, ...]]:
    """Groups of columns that fit the width, each with the leading columns of names."""
    count = next((i for i, c in enumerate(columns) if c.is_number), len(columns))
    share = 1 if count == len(columns) else 1 / 2 if count > 1 else 1 / 3
    names = _limit(columns[:count], share * WIDTH)
    room = WIDTH - _total(names)
    group: list[_Column] = []
    for column in columns[count:]:
        column = column.limited(room - 2 * MARGIN)
        if _total([*group, column]) > room:
            yield (*names, *group)
            group = []
        group.append(column)
    yield (*names, *group)


def _limit(columns: Sequence[_Column], room: float) -> list[_Column]:
    """Breaks the lines of the widest columns until all columns fit."""
    room -= 2 * MARGIN * len(columns)
    widest = room
    for i, width in enumerate(sorted(c.width for c in columns)):
        widest = room / (len(columns) - i)
        if width > widest:
            break
        room -= width
    return [c.limited(widest) for c in columns]


def _divide_rows(columns: Sequence[_Column], room: float) -> Iterator[range]:
    """Ranges of rows that fit a height."""
    room -= max(c.head.height for c in columns)
    first, filled = 0, 0.0
    count = len(columns[0].cells)
    for row in range(count):
        height = max(c.cells[row].height for c in columns)
        if filled + height > room and row > first:
            yield range(first, row)
            first, filled = row, 0.0
        filled += height
    yield range(first, count)


def _float(caption: str, columns: Sequence[_Column], rows: range) -> str:
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize",
        rf"\setlength{{\tabcolsep}}{{{MARGIN:g}pt}}\setlength{{\belowcaptionskip}}{{6pt}}",
        r"\setlength{\emergencystretch}{3em}",
        caption,
        rf"\begin{{tabular}}{{{''.join(c.side for c in columns)}}}",
        r"\toprule",
        " & ".join(c.head.latex(c.side, "b") for c in columns) + r" \\",
        r"\midrule",
        *(_row(columns, i) for i in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(columns: Sequence[_Column], row: int) -> str:
    cells = [c.cells[row] for c in columns]
    # Lines of one row are closer to each other than to the next row.
    gap = "[2pt]" if any(len(c.text) + len(c.small) > 1 for c in cells) else ""
    texts = [c.latex(column.side) for c, column in zip(cells, columns, strict=True)]
    return " & ".join(texts) + r" \\" + gap


def _wrap(text: str, letters: int, word: int) -> list[str]:
    """Breaks a text into lines of so many letters.

    A part of a name is broken only if it has more letters than `word`.
    """
    lines = [""]
    for part in _parts(text):
        if lines[-1] and len((lines[-1] + part).rstrip()) > letters:
            lines.append("")
        lines[-1] += part
        while len(lines[-1].rstrip()) > max(letters, word):
            lines[-1:] = [lines[-1][:word], lines[-1][word:]]
    return [line.strip() for line in lines]


def _breakable(text: str) -> str:
    """Escapes a text, in which LaTeX may break lines within names."""
    words = (map(escape_latex, _parts(word)) for word in text.split(" "))
    return " ".join(map(r"\allowbreak{}".join, words))


def _parts(text: str) -> list[str]:
    """Divides a text where a line may end: after words, and within names of files.

    A number such as 1e-05 or 0.3 stays whole.
    """
    return re.split(r"(?<=[ _/:=])(?=\S)|(?<=[.,-])(?=[A-Za-z])", text)
