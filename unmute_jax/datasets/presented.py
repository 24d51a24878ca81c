"""Tables of Hugging Face, presented as the files that a data set is published in.

Builders of published data sets read files with known names. `Presented` gives these
names to the rows of a copy in tables, so clips, labels, splits and ids are those of the
published files; `TableCopy` reads what the rows say.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unmute_jax.datasets.audio_rows import AudioRows
from unmute_jax.datasets.features import audio_column, features_of
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.hub import find_copy, has_tables
from unmute_jax.datasets.parquet import open_table
from unmute_jax.errors import InputError

# Stands for the paths that rows give their audio, beside its bytes.
PATH = "path of the audio"


class Presented(Files):
    """Rows of tables under the names of files, and files that are made of rows.

    Attributes:
        root: Folder of the tables.

    Args:
        rows: The audio of the rows.
        names: Name of the row of each file.
        made: Contents of the files that are made, such as a table of labels.
    """

    def __init__(
        self, rows: AudioRows, names: Mapping[str, str], made: Mapping[str, bytes]
    ):
        self._rows = rows
        self.root = rows.root
        self._names = dict(names)
        self._made = dict(made)

    def read(self, name: str) -> bytes:
        """See `Files`."""
        if name in self._made:
            return self._made[name]
        if name not in self._names:
            raise InputError(f"{self.where(name)}: there is no such row")
        return self._rows.read(self._names[name])

    def where(self, name: str) -> str:
        """See `Files`."""
        row = self._names.get(name)
        return self._rows.where(row) if row else f"{self._rows.root} as {name}"

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        names = list(names)
        row_of = {name: self._names[name] for name in names if name in self._names}
        lost = set(self._rows.missing(row_of.values()))
        return [
            name
            for name in names
            if name not in self._made and (row_of.get(name) in (None, *lost))
        ]

    def stamp(self, names: Iterable[str]) -> str:
        """Returns a hash of the tables and of the files that are made of them."""
        stamp = hashlib.sha256()
        for name in sorted(names):
            stamp.update(f"{name}\0{self._names.get(name)}\n".encode())
            stamp.update(self._made.get(name, b""))
        rows = [self._names[name] for name in names if name in self._names]
        stamp.update(self._rows.stamp(rows).encode())
        return stamp.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        prefix = f"{below}/" if below else ""
        every = (*self._names, *self._made)
        return sorted(name for name in every if name.startswith(prefix))


class TableCopy:
    """A folder of tables that holds a published data set.

    Attributes:
        files: The audio of its rows.
        splits: Names of its splits.

    Args:
        place: The folder.
        title: Name of the data set, for messages.
        configs: Names of the configuration that is read, if the copy has several.
    """

    def __init__(self, place: pathlib.Path, title: str, configs: Sequence[str] = ()):
        self._copy = find_copy(str(place), prefer=configs)
        self._title = title
        self.root = place.absolute()
        self.splits = tuple(self._copy.layout.splits)
        first = open_table(self.root / next(iter(self._copy.layout.splits.values()))[0])
        features = features_of(first, self._copy.layout.features)
        self.files = AudioRows(self.root, audio_column(first, features, ""))
        self._columns = set(first.schema.names)

    def column(self, *names: str) -> str:
        """Returns the first of some columns that is there.

        Raises:
            InputError: None of them is there.
        """
        for name in names:
            if name in self._columns:
                return name
        raise self.refusal(
            f"its tables have no column {' or '.join(names)}, only "
            f"{', '.join(sorted(self._columns))}"
        )

    def name_column(self, *names: str) -> str:
        """Returns the column with the names of the published files.

        Args:
            *names: Names of such a column.

        Returns:
            The first of them that is there, or `PATH` if the rows name their audio.
        """
        table = next(iter(self._copy.layout.splits.values()))[0]
        if not self._columns.intersection(names) and all(self.files.file_names(table)):
            return PATH
        return self.column(*names)

    def has(self, column: str) -> bool:
        """Returns whether a column is there."""
        return column in self._columns

    def split(self, *names: str) -> str:
        """Returns the first of some splits that is there; errors as in `column`."""
        for name in names:
            if name in self.splits:
                return name
        raise self.refusal(
            f"it has no split {' or '.join(names)}, only {', '.join(self.splits)}"
        )

    def rows(self, split: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the rows of a split, with classes by name.

        Args:
            split: Name of the split.
            columns: Columns to read, or `PATH`. The name of the row is added as `name`.
        """
        found: list[dict[str, Any]] = []
        for table in self._copy.layout.splits[split]:
            opened = self.files.table(table)
            real = [column for column in columns if column != PATH]
            opened.check(real)
            features = features_of(opened, self._copy.layout.features)
            paths = self.files.file_names(table) if PATH in columns else []
            for i, row in enumerate(self.files.rows(table, real)):
                row |= {PATH: paths[i]} if paths else {}
                for column in real:
                    names = features[column].names
                    row[column] = _named(row[column], names, self.files, row["name"])
                found.append(row)
        return found

    def names_of(self, column: str) -> tuple[str, ...]:
        """Returns the class names that a column declares."""
        table = self.files.table(next(iter(self._copy.layout.splits.values()))[0])
        return features_of(table, self._copy.layout.features)[column].names

    def refusal(self, problem: str) -> InputError:
        """Returns the error for a copy that cannot be read as the published files."""
        return InputError(
            f"{self.root}: cannot be read as {self._title}: {problem}; "
            f"hf:{self.root} reads it as it is"
        )


def table_copy(
    place: pathlib.Path, title: str, configs: Sequence[str] = ()
) -> TableCopy | None:
    """Returns the copy in a folder of tables, or None if it is no such folder."""
    place = place.expanduser()
    return TableCopy(place, title, configs) if has_tables(place) else None


def _named(value: Any, names: Sequence[str], files: AudioRows, row: str) -> Any:
    """Returns the names of classes for their indices, where names are declared."""
    if not names or value is None:
        return value
    if isinstance(value, list):
        return [_named(item, names, files, row) for item in value]
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise InputError(
            f"{files.where(row)}: its label is {value}, of classes 0 to "
            f"{len(names) - 1}"
        )
    return names[value]
