"""Tables of labels in csv or tsv files, with any line ends and quotes."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from unmute_jax.datasets.files import Files
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import refuse_lfs_pointer

# The beginning of a text that a spreadsheet takes for a formula, with the apostrophes
# that `csv_text` has put before it; and numbers, which are none, with what tables write
# behind them, such as "+0.41 ± 0.02†".
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(
    r"[+-]?(\d[\d,]*\.?\d*|\.\d+)(e[+-]?\d+)?[\d ±†‡%\[\],.;−]*", re.IGNORECASE
)
# Letters of the longest field that is read; a longer one tells of a missing quote.
_LONGEST_FIELD = 10_000_000


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        values: Value of each column, without surrounding spaces.
        where: File and line number, for messages.
        has_decimal_commas: Whether "0,5" may stand for one half.
    """

    values: Mapping[str, str]
    where: str
    has_decimal_commas: bool = False

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def get(self, column: str) -> str:
        """Returns the value of a column, empty if there is no such column."""
        return self.values.get(column, "")

    def seconds(self, column: str) -> float:
        """Returns a time in seconds.

        Raises:
            InputError: The value is not a finite number.
        """
        text = self[column]
        if self.has_decimal_commas and text.count(",") == 1:
            text = text.replace(",", ".")
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise InputError(f"{self.where}: {column} is {self[column]!r}, not seconds")
        return seconds

    def names(self, column: str, separator: str = ",") -> list[str]:
        """Returns the names in a column that holds a list, each once."""
        parts = (part.strip() for part in self[column].split(separator))
        return list(dict.fromkeys(part for part in parts if part))


def read_text(files: Files, name: str, notes: list[str] | None = None) -> str:
    """Reads a text file in UTF-8, or in UTF-16, which spreadsheets write too.

    Args:
        files: Files of the data set.
        name: Name of the file.
        notes: List to which a remark is added if the encoding had to be guessed. Then a
            file in neither of the two is read as Windows-1252, the usual encoding of
            spreadsheets and annotation programs on Windows.

    Raises:
        InputError: The file is no text in one of these encodings.
    """
    data, where = files.read(name), files.where(name)
    refuse_lfs_pointer(where, data)
    if data.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{where}: is a workbook or another archive, not a text file; save the "
            "table as csv"
        )
    # Nearly every second byte of English text in UTF-16 is zero.
    start = data[:1000]
    is_wide = start.startswith((b"\xff\xfe", b"\xfe\xff"))
    is_little = start[1::2].count(0) > start[::2].count(0)
    wide = "utf-16" if is_wide else "utf-16-le" if is_little else "utf-16-be"
    has_zeros = 4 * start.count(0) > len(start)
    try:
        text = data.decode(wide if is_wide or has_zeros else "utf-8-sig")
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    if notes is None or 0 in data:
        raise InputError(f"{where}: is not a text file in UTF-8")
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise InputError(
            f"{where}: is a text file neither in UTF-8 nor in Windows-1252; save it in "
            "UTF-8"
        ) from None
    odd = next(word for word in re.findall(r"\w+|\W", text) if not word.isascii())
    notes.append(
        f"{name} is not in UTF-8 and was read as Windows-1252, for example {odd!r}"
    )
    return text


def read_table(
    files: Files,
    name: str,
    columns: Sequence[str],
    *,
    delimiter: str | None = ",",
    has_header: bool = True,
    has_comments: bool = False,
) -> list[Line]:
    """Reads the lines of a table; empty lines are skipped.

    Args:
        files: Files of the data set.
        name: Name of the table.
        columns: Names of the columns that must be there; without a header, the names of
            all columns in order.
        delimiter: Character between two columns; None for the one that the first line
            has most of: comma, semicolon or tab.
        has_header: Whether the first line names the columns.
        has_comments: Whether lines that begin with `#` are skipped.

    Raises:
        InputError: The file is no such table, or a line has too many or too few fields.
    """
    return parse_table(
        read_text(files, name),
        files.where(name),
        columns,
        delimiter=delimiter,
        has_header=has_header,
        has_comments=has_comments,
    )


def parse_table(
    text: str,
    where: str,
    columns: Sequence[str],
    *,
    delimiter: str | None = ",",
    has_header: bool = True,
    has_comments: bool = False,
    has_quotes: bool = True,
    fills_up: bool = False,
) -> list[Line]:
    """Reads the lines of a table from its text; see `read_table`.

    Args:
        text: Content of the table.
        where: Name of the table, for messages.
        columns: See `read_table`.
        delimiter: See `read_table`.
        has_header: See `read_table`.
        has_comments: See `read_table`.
        has_quotes: Whether a field in quotes may contain delimiters and line breaks;
            otherwise a quote is an ordinary character.
        fills_up: Whether a line may lack fields at its end, which are then empty.
    """
    if delimiter is None:
        text, delimiter = _find_delimiter(text)
    # A space may follow the comma, before the quote.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
    )
    header, lines = ([], []) if has_header else (list(columns), [])
    longest = csv.field_size_limit(_LONGEST_FIELD)
    try:
        for fields in reader:
            fields = [field.strip() for field in fields]
            if has_quotes:
                fields = [_without_apostrophe(field) for field in fields]
            # Spreadsheets leave lines of nothing but delimiters.
            if not any(fields) or (has_comments and fields[0].startswith("#")):
                continue
            if not header:
                header = [one_line(field) for field in fields]
                if twice := [f for f in header if f and header.count(f) > 1]:
                    raise InputError(f"{where}: has two columns {twice[0]}")
                continue
            place = f"{where}, line {reader.line_num}"
            if fills_up:
                fields += [""] * (len(header) - len(fields))
            if len(fields) != len(header):
                raise InputError(
                    f"{place}: has more or fewer fields than the {len(header)} that "
                    f"are expected ({', '.join(header)})"
                )
            values = dict(zip(header, fields, strict=True))
            lines.append(Line(values, place, delimiter != ","))
    except csv.Error as error:
        raise InputError(f"{where}: is not a table ({error})") from None
    finally:
        csv.field_size_limit(longest)
    if missing := [column for column in columns if column not in header]:
        raise InputError(
            f"{where}: has no column {', '.join(missing)}, only "
            f"{', '.join(header) or 'nothing'}"
        )
    return lines


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Formats rows as csv, which `parse_table` reads again; None is an empty field.

    A spreadsheet takes a text that begins with one of "=+-@", a tab or a line break for
    a formula. An apostrophe before it says that it is text, as the Open Worldwide
    Application Security Project recommends (its page "CSV Injection").

    Args:
        rows: The rows, the first of which is the header.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([_as_text(field) for field in row] for row in rows)
    return out.getvalue()


def _as_text(field: object) -> object:
    if not isinstance(field, str) or not _FORMULA.match(field):
        return field
    return field if _NUMBER.fullmatch(field) else f"'{field}"


def _without_apostrophe(field: str) -> str:
    """The field that `csv_text` was given."""
    marked = field.startswith("'") and _FORMULA.match(field)
    return field[1:] if marked else field


def _find_delimiter(text: str) -> tuple[str, str]:
    """Returns a table without the line that names its delimiter, and the delimiter."""
    # Excel understands such a line and some programs write it.
    if named := re.match(r'\W*sep=(.)"?(\r\n|\r|\n)', text, re.IGNORECASE):
        return text[named.end() :], named[1]
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return text, max(",;\t", key=first.count)
