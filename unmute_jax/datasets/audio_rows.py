"""Audio that is stored in the rows of tables, or whose files the rows name."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unmute_jax.datasets.files import Files, Folder
from unmute_jax.datasets.parquet import SUFFIXES, Table, open_table
from unmute_jax.errors import InputError


class AudioRows(Files):
    """The audio of some tables; each row is a file called `TABLE/ROW`.

    A row holds the bytes of an audio file, or the path of one that lies beside the
    table or below the root, as `datasets` writes both; or samples and their rate, as
    programs store them that have decoded the audio. Whole groups of rows are read,
    and only the last group is kept, so rows are best read in order.

    Args:
        root: Folder with the tables.
        column: Column with the audio.
        is_published: Whether the tables are somebody else's, so that the paths in their
            rows may only lead to files below the root.
    """

    def __init__(
        self, root: pathlib.Path, column: str = "audio", is_published: bool = False
    ):
        self.root = root
        self._column = column
        self._is_published = is_published
        self._folder = Folder(root)
        self.table = functools.lru_cache(maxsize=2)(self._open)
        self.paths = functools.lru_cache(maxsize=None)(self._find_paths)
        self._group = functools.lru_cache(maxsize=1)(self._read_group)

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields the rows of a table.

        Args:
            table: Path of the table from the root.
            columns: Columns to read. The name of the file is added as `name`.

        Raises:
            InputError: A column is missing, or that of the audio holds none.
        """
        opened = self.table(table)
        opened.check([*columns, self._column])
        kind = opened.schema.field(self._column).type
        if not holds_audio(kind):
            raise InputError(
                f"{opened.where}: column {self._column} holds {kind}, not audio, which "
                "is bytes of a file, the path of a file, or both (bytes, path)"
            )
        for i, row in enumerate(opened.rows(columns)):
            yield {**row, "name": f"{table}/{i}"}

    def file_names(self, table: str) -> list[str]:
        """Returns the path that each row gives its audio; empty where it gives none."""
        opened = self.table(table)
        kind = str(opened.schema.field(self._column).type)
        if kind in ("string", "large_string"):
            return [row[self._column] or "" for row in opened.rows([self._column])]
        if "string" not in kind:
            return [""] * len(opened)
        groups = range(len(opened.sizes))
        paths = (opened.field(i, self._column, "path") for i in groups)
        return [path or "" for of_group in paths for path in of_group]

    def read(self, name: str) -> bytes:
        """See `Files`."""
        table, row = _split(name)
        first = 0
        for group, size in enumerate(self.table(table).sizes):
            if row < first + size:
                return self._bytes(self._group(table, group)[row - first], name)
            first += size
        raise InputError(f"{self.where(name)}: there is no such row")

    def where(self, name: str) -> str:
        """See `Files`."""
        table, row = _split(name)
        return f"{self.root / table}, row {row}"

    def missing(self, names: Iterable[str]) -> list[str]:
        """See `Files`."""
        names = list(names)
        tables = {_split(name)[0] for name in names}
        lost = set(self._folder.missing(sorted(tables)))
        return [name for name in names if _split(name)[0] in lost or self._lost(name)]

    def stamp(self, names: Iterable[str]) -> str:
        """Returns the stamp of the tables and of the files that their rows name."""
        tables = sorted({_split(name)[0] for name in names})
        stamp = hashlib.sha256(self._folder.stamp(tables).encode())
        for table in tables:
            files = (self._file(table, path) for path in self.paths(table).values())
            found = [str(file) for file in files if file]
            stamp.update(Folder(pathlib.Path()).stamp(found).encode())
        return stamp.hexdigest()

    def names(self, below: str = "") -> list[str]:
        """See `Files`."""
        tables = (n for n in self._folder.names(below) if n.endswith(SUFFIXES))
        return [row["name"] for table in tables for row in self.rows(table, [])]

    def _open(self, table: str) -> Table:
        return open_table(self.root / table)

    def _read_group(self, table: str, group: int) -> Any:
        return self.table(table).group(group, [self._column])[self._column]

    def _find_paths(self, table: str) -> dict[int, str]:
        """Returns the path of each row that holds no bytes but names a file."""
        opened = self.table(table)
        audio = opened.schema.field(self._column).type
        kind = str(audio)
        if "string" not in kind or _has_samples(audio):
            return {}
        found: dict[int, str] = {}
        first = 0
        for group, size in enumerate(opened.sizes):
            if "binary" not in kind or opened.lacks(group, self._column, "bytes"):
                for i, value in enumerate(self._read_group(table, group), first):
                    data, path = _content(value)
                    if data is None and path:
                        found[i] = path
            first += size
        return found

    def _lost(self, name: str) -> bool:
        table, row = _split(name)
        path = self.paths(table).get(row)
        return path is not None and self._file(table, path) is None

    def _bytes(self, value: Any, name: str) -> bytes:
        data, path = _content(value)
        if data is not None:
            return data
        if not path:
            raise InputError(f"{self.where(name)}: column {self._column} is empty")
        if file := self._file(_split(name)[0], path):
            return Folder(file.parent).read(file.name)
        raise InputError(
            f"{self.where(name)}: column {self._column} has no bytes, only the path "
            f"{path}, and there is no such file beside the table or below {self.root}"
        )

    def _file(self, table: str, path: str) -> pathlib.Path | None:
        """Returns the file that a row names, or None if it is not there."""
        for folder in ((self.root / table).parent, self.root):
            file = pathlib.Path(os.path.normpath(folder / path))
            may_lead_there = not self._is_published or file.is_relative_to(self.root)
            if may_lead_there and file.is_file():
                return file
        return None


def holds_audio(kind: Any) -> bool:
    """Returns whether a column of a type of pyarrow may hold audio or paths of it."""
    import pyarrow.types as types

    if types.is_struct(kind):
        fields = {field.name: str(field.type).removeprefix("large_") for field in kind}
        if _has_samples(kind):
            return True
        if fields.get("bytes", "binary") != "binary":
            return False
        # Beside samples that are decoded already, a path says where they came from.
        is_path = fields.get("path") == "string" and "array" not in fields
        return "bytes" in fields or is_path
    return is_bytes(kind) or str(kind) in ("string", "large_string")


def is_bytes(kind: Any) -> bool:
    """Returns whether a column holds bytes, possibly as lists of small numbers."""
    return str(kind) in ("binary", "large_binary") or _is_list_of_bytes(kind)


def _has_samples(kind: Any) -> bool:
    """Returns whether a column holds decoded samples and their rate, as `datasets`."""
    import pyarrow.types as types

    fields = {f.name: f.type for f in kind} if types.is_struct(kind) else {}
    array, rate = fields.get("array"), fields.get("sampling_rate")
    if array is None or rate is None or not types.is_integer(rate):
        return False
    is_list = types.is_list(array) or types.is_large_list(array)
    return is_list and types.is_floating(array.value_type)


def _encoded(value: Any) -> bytes | None:
    """Returns decoded samples as a WAV file of floats; None if there are none."""
    import scipy.io.wavfile

    samples, rate = value["array"].values, value["sampling_rate"].as_py()
    if samples is None or not rate:
        return None
    x = samples.to_numpy(zero_copy_only=False)
    file = io.BytesIO()
    scipy.io.wavfile.write(file, rate, x.astype(np.float32))
    return file.getvalue()


def _is_list_of_bytes(kind: Any) -> bool:
    return str(kind).startswith("list<") and str(kind.value_type) == "uint8"


def _content(value: Any) -> tuple[bytes | None, str | None]:
    """Returns the bytes and the path in a row, whatever the type of its column."""
    if _is_list_of_bytes(value.type):
        # As a Python list, a second of audio would take a megabyte.
        numbers = value.values
        return (None if numbers is None else numbers.to_numpy().tobytes()), None
    if _has_samples(value.type):
        return _encoded(value), None
    content = value.as_py()
    if isinstance(content, dict):
        return content.get("bytes"), content.get("path")
    if isinstance(content, str):
        return None, content
    return content, None


def _split(name: str) -> tuple[str, int]:
    path = pathlib.PurePosixPath(name)
    return str(path.parent), int(path.name)
