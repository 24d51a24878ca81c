"""Parquet files as Hugging Face keeps data sets: tables, and audio inside of rows."""

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
    """The rows of a table.

    Args:
        files: Where it is.
        name: Of the file.
        columns: What to read.
        optional: Likewise, None where the table has no such column.

    Raises:
        InputError: It is no such table.
    """
    where = files.where(name)
    table = _opened(io.BytesIO(files.read(name)), where)
    there = [c for c in optional if c in table.schema_arrow.names]
    _check_columns(table, columns, where)
    rows = table.read(columns=[*columns, *there]).to_pylist()
    return [{**dict.fromkeys(optional), **row} for row in rows]


class AudioRows(Files):
    """The column `audio` of parquet files; each row is a file, `TABLE/ROW`.

    A group of rows is read at a time and the last one is kept, so rows are best read in
    their order.
    """

    def __init__(self, root: Folder):
        self._root = root
        self._table = functools.lru_cache(maxsize=1)(self._open)
        self._group = functools.lru_cache(maxsize=1)(self._read_group)

    def rows(self, folder: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows of all tables in a folder, with `name` for what `read` takes."""
        for table in self._root.names(folder):
            if not table.endswith(".parquet"):
                continue
            where = self._root.where(table)
            opened = self._table(table)
            _check_columns(opened, [*columns, "audio"], where)
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
        lost = set(self._root.missing(sorted(tables)))
        return [name for name in names if _split(name)[0] in lost]

    def stamp(self, names: Iterable[str]) -> str:
        """See `Files`."""
        return self._root.stamp(sorted({_split(name)[0] for name in names}))

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        return [row["name"] for row in self.rows(below, [])]

    def _open(self, table: str) -> Any:
        return _opened(self._root.where(table), self._root.where(table))

    def _read_group(self, table: str, group: int) -> Any:
        return self._table(table).read_row_group(group, columns=["audio"])["audio"]


def _opened(source: str | io.BytesIO, where: str) -> Any:
    import pyarrow  # TFDS brings it; a quarter of a second that few data sets need.
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
