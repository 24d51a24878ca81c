"""Tables of labels in csv or tsv files, with any line ends and quotes."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

from unmute_jax.datasets.files import Files
from unmute_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        values: Value of each column, without surrounding spaces.
        where: File and line number, for messages.
    """

    values: Mapping[str, str]
    where: str

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
        try:
            seconds = float(self[column])
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds):
            raise InputError(f"{self.where}: {column} is {self[column]!r}, not seconds")
        return seconds

    def names(self, column: str, separator: str = ",") -> list[str]:
        """Returns the names in a column that holds a list, each once."""
        parts = (part.strip() for part in self[column].split(separator))
        return list(dict.fromkeys(part for part in parts if part))


def read_text(files: Files, name: str) -> str:
    """Returns a text file in UTF-8, with or without a byte order mark."""
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{files.where(name)}: is not a text file in UTF-8") from None


def read_table(
    files: Files,
    name: str,
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    has_header: bool = True,
    has_comments: bool = False,
) -> list[Line]:
    """Reads the lines of a table; empty lines are skipped.

    Args:
        files: Files of the data set.
        name: Name of the table.
        columns: Names of the columns that must be there; without a header, the names of
            all columns in order.
        delimiter: Character between two columns.
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
    delimiter: str = ",",
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
    # A space may follow the comma, before the quote.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        quoting=csv.QUOTE_MINIMAL if has_quotes else csv.QUOTE_NONE,
    )
    header, lines = ([], []) if has_header else (list(columns), [])
    try:
        for fields in reader:
            fields = [field.strip() for field in fields]
            # Spreadsheets leave lines of nothing but delimiters.
            if not any(fields) or (has_comments and fields[0].startswith("#")):
                continue
            if not header:
                header = fields
                continue
            place = f"{where}, line {reader.line_num}"
            if fills_up:
                fields += [""] * (len(header) - len(fields))
            if len(fields) != len(header):
                raise InputError(
                    f"{place}: has more or fewer fields than the {len(header)} that "
                    f"are expected ({', '.join(header)})"
                )
            lines.append(Line(dict(zip(header, fields, strict=True)), place))
    except csv.Error as error:
        raise InputError(f"{where}: is not a table ({error})") from None
    if missing := [column for column in columns if column not in header]:
        raise InputError(
            f"{where}: has no column {', '.join(missing)}, only "
            f"{', '.join(header) or 'nothing'}"
        )
    return lines
