"""Parquet files of Hugging Face: tables, and audio that is stored in their rows."""

from __future__ import annotations

import functools
import io
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from unmute_jax.datasets.files import Files, Folder
from unmute_jax.errors import InputError


def read_rows(
    files: Files, name: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Reads the rows of a table.

    Args:
        files: Files of the data set.
        name: Name of the table.
        columns: Columns that must be there.
        optional: Columns that may be missing; their values are then None.

    Raises:
        InputError: The file is no such table.
    """
    where = files.where(name)
    table = _open(io.BytesIO(files.read(name)), where)
    there = [c for c in optional if c in table.schema_arrow.names]
    _check_columns(table, columns, where)
    rows = table.read(columns=[*columns, *there]).to_pylist()
    return [{**dict.fromkeys(optional), **row} for row in rows]


class AudioRows(Files):
    """The column `audio` of parquet files; each row is a file called `TABLE/ROW`.

    Whole groups of rows are read, and only the last group is cached, so rows are best
    read in order.

    Args:
        root: Folder with the parquet files.
    """

    def __init__(self, root: Folder):
        self._root = root
        self._table = functools.lru_cache(maxsize=1)(self._open_table)
        self._group = functools.lru_cache(maxsize=1)(self._read_group)

    def rows(self, folder: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields the rows of all tables in a folder.

        Args:
            folder: Path of the folder from the root.
            columns: Columns to read. The name of the file is added as `name`.
        """
        for table in self._root.names(folder):
            if not table.endswith(".parquet"):
                continue
            opened = self._table(table)
            _check_columns(opened, [*columns, "audio"], self._root.where(table))
            for i, row in enumerate(opened.read(columns=list(columns)).to_pylist()):
                yield {**row, "name": f"{table}/{i}"}

    def read(self, name: str) -> bytes:
        """See `Files`."""
        table, row = _split(name)
        opened, first = self._table(table), 0
        for group in range(opened.metadata.num_row_groups):
            size = opened.metadata.row_group(group).num_rows
            if row < first + size:
                data = self._group(table, group)[row - first].as_py()["bytes"]
                if data is None:
                    raise InputError(f"{self.where(name)}: holds no audio")
                return data
            first += size
        raise InputError(f"{self.where(name)}: there is no such row")

    def where(self, name: str) -> str:
        """See `Files`."""
        table, row = _split(name)
        return f"{self._root.where(table)}, row {row}"

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        names = list(names)
        tables = {_split(name)[0] for name in names}
        missing = set(self._root.missing(sorted(tables)))
        return [name for name in names if _split(name)[0] in missing]

    def stamp(self, names: Iterable[str]) -> str:
        """See `Files`."""
        return self._root.stamp(sorted({_split(name)[0] for name in names}))

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        return [row["name"] for row in self.rows(below, [])]

    def _open_table(self, table: str) -> Any:
        return _open(self._root.where(table), self._root.where(table))

    def _read_group(self, table: str, group: int) -> Any:
        return self._table(table).read_row_group(group, columns=["audio"])["audio"]


def _open(source: str | io.BytesIO, where: str) -> Any:
    # TFDS depends on it; it takes a quarter of a second, and few data sets need it.
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(source)
    except (pyarrow.ArrowInvalid, OSError):
        raise InputError(
            f"{where}: is no parquet file, or its download was cut short"
        ) from None


def _check_columns(table: Any, columns: Sequence[str], where: str) -> None:
    there = table.schema_arrow.names
    if missing := [column for column in columns if column not in there]:
        raise InputError(
            f"{where}: has no column {', '.join(missing)}, only {', '.join(there)}"
        )


def _split(name: str) -> tuple[str, int]:
    path = pathlib.PurePosixPath(name)
    return str(path.parent), int(path.name)
