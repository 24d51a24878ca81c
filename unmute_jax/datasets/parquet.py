"""Tables as Hugging Face publishes them: parquet files and Arrow files.

Files of `datasets` carry the features of their columns, such as the names of classes,
in the metadata of their schema; `features` reads them.
"""

from __future__ import annotations

import io
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from unmute_jax.datasets.files import Files
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import refuse_lfs_pointer

# Names of tables end like this; `datasets` writes Arrow files with `save_to_disk`.
SUFFIXES = (".parquet", ".arrow")


class Table:
    """A table whose rows are read in groups, so that memory holds one group.

    Args:
        schema: Schema of pyarrow.
        sizes: Number of rows of each group.
        read: Function from a group and the names of columns to a pyarrow table.
        lacks: Function from a group, a column and the name of a field to whether some
            row lacks the field.
        field: Function from the same to the values of the field, without the others.
        where: Place of the table, for messages.
    """

    def __init__(
        self,
        schema: Any,
        sizes: Sequence[int],
        read: Callable[[int, list[str]], Any],
        lacks: Callable[[int, str, str], bool],
        field: Callable[[int, str, str], list[Any]],
        where: str,
    ):
        self.schema = schema
        self.sizes = tuple(sizes)
        self.lacks = lacks
        self.field = field
        self.where = where
        self._read = read

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def features(self) -> dict[str, Any]:
        """The features that `datasets` stores with the columns, empty without them."""
        text = (self.schema.metadata or {}).get(b"huggingface", b"{}")
        try:
            features = json.loads(text)["info"]["features"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return features if isinstance(features, dict) else {}

    def check(self, columns: Sequence[str]) -> None:
        """Raises `InputError` if a column is missing."""
        there = self.schema.names
        if missing := [column for column in columns if column not in there]:
            raise InputError(
                f"{self.where}: has no column {', '.join(missing)}, only "
                f"{', '.join(there) or 'nothing'}"
            )

    def rows(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Returns the values of some columns, one mapping per row."""
        self.check(columns)
        if not columns:
            return [{} for _ in range(len(self))]
        groups = (self.group(group, columns) for group in range(len(self.sizes)))
        return [row for rows in groups for row in rows.to_pylist()]

    def group(self, group: int, columns: Sequence[str]) -> Any:
        """Returns some columns of a group of rows as a pyarrow table."""
        import pyarrow

        try:
            return self._read(group, list(columns))
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.where}: is damaged: {one_line(str(error), 200)}"
            ) from None


def open_table(path: pathlib.Path) -> Table:
    """Opens a parquet file or an Arrow file.

    Raises:
        InputError: The file is not there, is no such table, or pyarrow is missing.
    """
    where = str(path)
    if not path.is_file():
        raise InputError(f"{where}: there is no such file")
    return _arrow(where) if path.suffix == ".arrow" else _parquet(where, where)


def read_rows(
    files: Files, name: str, columns: Sequence[str], optional: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Reads the rows of a parquet file.

    Args:
        files: Files of the data set.
        name: Name of the table.
        columns: Columns that must be there.
        optional: Columns that may be missing; their values are then None.

    Raises:
        InputError: The file is no such table.
    """
    table = _parquet(io.BytesIO(files.read(name)), files.where(name))
    there = [c for c in optional if c in table.schema.names]
    rows = table.rows([*columns, *there])
    return [{**dict.fromkeys(optional), **row} for row in rows]


def _parquet(source: str | io.BytesIO, where: str) -> Table:
    arrow = _pyarrow()
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(source)
        sizes = [
            file.metadata.row_group(i).num_rows
            for i in range(file.metadata.num_row_groups)
        ]
        schema = file.schema_arrow
        _read_names(schema)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _no_table(source, where, "parquet", error) from None

    def read(group: int, columns: list[str]) -> Any:
        return file.read_row_group(group, columns=columns)

    def lacks(group: int, column: str, field: str) -> bool:
        about = file.metadata.row_group(group)
        for i in range(about.num_columns):
            if about.column(i).path_in_schema == f"{column}.{field}":
                counts = about.column(i).statistics
                if counts is None or not counts.has_null_count:
                    return True
                return counts.null_count != 0
        return True

    def field_of(group: int, column: str, field: str) -> list[Any]:
        values = file.read_row_group(group, columns=[f"{column}.{field}"])[column]
        return [value and value[field] for value in values.to_pylist()]

    return Table(schema, sizes, read, lacks, field_of, where)


def _arrow(where: str) -> Table:
    arrow = _pyarrow()
    try:
        with arrow.memory_map(where) as source:
            # Nothing is copied into memory before a value is asked for.
            is_file = bytes(source.read(6)) == b"ARROW1"
            source.seek(0)
            if is_file:
                batches = arrow.ipc.open_file(source)
                every = range(batches.num_record_batches)
                parts = [batches.get_batch(i) for i in every]
            else:
                batches = arrow.ipc.open_stream(source)
                parts = list(batches)
            schema = batches.schema
        for part in parts:
            # What lies outside of its buffers would end the process when it is read.
            part.validate(full=True)
        _read_names(schema)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _no_table(where, where, "Arrow", error) from None

    def read(group: int, columns: list[str]) -> Any:
        return arrow.Table.from_batches([parts[group]]).select(columns)

    def lacks(group: int, column: str, field: str) -> bool:
        values = parts[group][column]
        index = values.type.get_field_index(field)
        return index < 0 or values.field(index).null_count != 0

    def field_of(group: int, column: str, field: str) -> list[Any]:
        return parts[group][column].field(field).to_pylist()

    sizes = [part.num_rows for part in parts]
    return Table(schema, sizes, read, lacks, field_of, where)


def _read_names(fields: Any) -> None:
    """Raises `UnicodeDecodeError` if a column or a field in it has no proper name."""
    for field in fields:
        kind = field.type
        _ = field.name
        _read_names([kind.field(i) for i in range(kind.num_fields)])


def _no_table(
    source: str | io.BytesIO, where: str, kind: str, error: Exception
) -> InputError:
    refuse_lfs_pointer(where, None if isinstance(source, str) else source.getvalue())
    return InputError(
        f"{where}: is no {kind} file, or its download was cut short "
        f"({one_line(str(error), 100)})"
    )


def _pyarrow() -> Any:
    # It takes a quarter of a second to import, and few data sets need it.
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            "parquet files need pyarrow, which is not installed: "
            "pip install 'unmute-jax[parquet]'"
        ) from None
    return pyarrow
