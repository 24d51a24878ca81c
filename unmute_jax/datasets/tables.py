"""Tables of labels: csv and tsv, with whatever line ends and quotes they came with."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence

from unmute_jax.datasets.files import Files
from unmute_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        values: By column, without spaces around them.
        where: File and line, for messages.
    """

    values: Mapping[str, str]
    where: str

    def __getitem__(self, column: str) -> str:
        return self.values[column]

    def seconds(self, column: str) -> float:
        """A time; `InputError` where there is none."""
        try:
            return float(self[column])
        except ValueError:
            raise InputError(
                f"{self.where}: {column} is {self[column]!r}, not seconds"
            ) from None

    def names(self, column: str) -> list[str]:
        """What a column with a list, separated by commas, holds; no name twice."""
        parts = (part.strip() for part in self[column].split(","))
        return list(dict.fromkeys(part for part in parts if part))


def read_text(files: Files, name: str) -> str:
    """A text file in UTF-8, with or without a byte order mark."""
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
) -> list[Line]:
    """The lines of a table; empty ones and those that begin with `#` are no lines.

    Args:
        files: Where it is.
        name: Of the file.
        columns: That must be there, by name; without a header, all columns in order.
        delimiter: Between two columns.
        has_header: Whether the first line names the columns.

    Raises:
        InputError: It is no such table, or a line has too many or too few fields.
    """
    where, text = files.where(name), read_text(files, name)
    # A space may follow the comma, before the quote.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
    )
    header, lines = ([], []) if has_header else (list(columns), [])
    try:
        for fields in reader:
            if not fields or fields[0].startswith("#"):
                continue
            fields = [field.strip() for field in fields]
            if not header:
                header = fields
                continue
            place = f"{where}, line {reader.line_num}"
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
