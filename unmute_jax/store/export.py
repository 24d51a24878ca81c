"""Token stores as files for other tools: of NumPy, or Parquet.

Every export has

    about.json    encoder, data set, classes, licences, geometry, (T, F, D)
    clips.csv     split, row, id, labels (names, with ";" between them), in the order of
                  the rows of all other files

`what="pooled"`, one vector per clip, as npy:

    mean_<split>.npy      [n, D] float32, the mean token
    cls_<split>.npy       [n, D] float32, the class token; the mean where there is none
    labels_<split>.npy    [n, C] uint8, one where the class is in the clip

`what="tokens"`, token maps, as npy: what `--config.encoder=tokens:FOLDER` reads again
(`encoders.exported`):

    tokens.json              name, description, licence and geometry
    <split>_00000.npz, ...   of 64 clips each: patches [n, T, F, D] float32, cls [n, D],
                             mask [n, T] of real time steps, ids [n]

As Parquet there is one file per split, `pooled_<split>.parquet` with the columns id,
split, labels (a list of names), mean and cls, or `tokens_<split>.parquet` with id,
split, labels, patches (T * F * D numbers, features fastest), cls and mask.

A file is there as a whole or not at all; what is there is not written again.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from unmute_jax.console import progress
from unmute_jax.encoders.exported import FACTS
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import write_atomically, writing
from unmute_jax.store.key import as_json
from unmute_jax.store.reader import TokenStore

EXPORT_KINDS, EXPORT_FORMATS = ("pooled", "tokens"), ("npy", "parquet")

# The rows of an array, block by block.
Blocks = Iterator[np.ndarray]


@dataclass(frozen=True)
class _File:
    """A file to be written.

    Attributes:
        name: In the folder.
        rows: How many clips it has.
        row_bytes: Of one of them, about.
        write: Writes it, and says how many rows it has written.
    """

    name: str
    rows: int
    row_bytes: int
    write: Callable[[BinaryIO, Callable[[int], None]], None]


def export_tokens(
    stores: Mapping[str, TokenStore], folder: str | pathlib.Path, what: str, form: str
) -> None:
    """Writes tokens of all splits; never holds more than 64 token maps.

    Args:
        stores: By split, of one data set and one encoder.
        folder: Where to; one that holds a part of the same export_tokens is completed.
        what: "pooled" or "tokens".
        form: "npy" or "parquet".

    Raises:
        InputError: The folder holds another export, the disk is too small, or pyarrow
            is missing.
    """
    check_export_options(what, form)
    folder = pathlib.Path(folder).expanduser()
    _pin(folder, _about(stores, what, form))
    files = {
        ("pooled", "npy"): _pooled_npy,
        ("tokens", "npy"): _tokens_npz,
        ("pooled", "parquet"): _pooled_parquet,
        ("tokens", "parquet"): _tokens_parquet,
    }[what, form]
    every = [file for split, store in stores.items() for file in files(split, store)]
    todo = [file for file in every if not (folder / file.name).exists()]
    _check_room(folder, sum(file.rows * file.row_bytes for file in todo))
    write_atomically(folder / "clips.csv", _clips(stores))
    if (what, form) == ("tokens", "npy"):
        facts = json.dumps(_facts(next(iter(stores.values()))), indent=1)
        write_atomically(folder / FACTS, facts + "\n")
    total = sum(file.rows for file in every)
    done = total - sum(file.rows for file in todo)
    with progress(f"exporting {what}", total, unit="rows", done=done) as advance:
        for file in todo:
            with writing(folder / file.name) as out:
                file.write(out, advance)


def check_export_options(what: str, form: str) -> None:
    """Refuses what cannot be exported here, before anything is computed.

    Raises:
        InputError: An unknown word; or pyarrow is missing.
    """
    if what not in EXPORT_KINDS:
        raise unknown_name("what to export", what, EXPORT_KINDS)
    if form not in EXPORT_FORMATS:
        raise unknown_name("form of export", form, EXPORT_FORMATS)
    if form == "parquet":
        _pyarrow()


# What an export says of itself


def _about(stores: Mapping[str, TokenStore], what: str, form: str) -> dict[str, Any]:
    first = next(iter(stores.values())).manifest
    return as_json(
        {
            "what": what,
            "form": form,
            "dataset": {"name": first["key"]["dataset"], **first["data"]},
            "task": first["task"],
            "classes": first["classes"],
            "encoder": {k: first["encoder"][k] for k in ("description", "licence")},
            "geometry": first["geometry"],
            "grid": first["grid"],
            "splits": {split: store.n for split, store in stores.items()},
            "made_of": {split: store.key for split, store in stores.items()},
        }
    )


def _facts(store: TokenStore) -> dict[str, Any]:
    """`tokens.json`."""
    name = store.encoder_identity["name"]
    said = {k: store.manifest["encoder"][k] for k in ("description", "licence")}
    return {"name": name, **said, **store.manifest["geometry"]}


def _pin(folder: pathlib.Path, ours: dict[str, Any]) -> None:
    """Writes `about.json`, or makes sure that the one there says the same."""
    path = folder / "about.json"
    try:
        theirs = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        write_atomically(path, json.dumps(ours, indent=1) + "\n")
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    if other := [key for key in ours if theirs.get(key) != ours[key]]:
        raise InputError(
            f"{folder} holds another export (it differs in {', '.join(other)}): use "
            "another --output"
        )


def _clips(stores: Mapping[str, TokenStore]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("split", "row", "id", "labels"))
    for split, store in stores.items():
        for row, clip in enumerate(store.ids):
            writer.writerow((split, row, clip, ";".join(_names(store, row))))
    return out.getvalue()


def _names(store: TokenStore, row: int) -> list[str]:
    return [store.classes[c] for c in np.flatnonzero(store.labels[row])]


def _check_room(folder: pathlib.Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"the export needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} "
            "GB free: make room, or use another --output"
        )


# NumPy


def _pooled_npy(split: str, store: TokenStore) -> Iterator[_File]:
    n, d, c = store.n, store.grid[2], len(store.classes)
    for name in ("mean", "cls"):
        blocks = functools.partial(_pooled, store, name)
        write = functools.partial(_write_npy, (n, d), np.dtype(np.float32), blocks)
        yield _File(f"{name}_{split}.npy", n, 4 * d, write)
    write = functools.partial(
        _write_npy, (n, c), np.dtype(np.uint8), lambda: iter([store.labels])
    )
    yield _File(f"labels_{split}.npy", n, c, write)


def _pooled(store: TokenStore, name: str) -> Blocks:
    for rows in _shards(store):
        yield store.pooled(rows)[name]


def _write_npy(
    shape: tuple[int, ...],
    dtype: np.dtype,
    blocks: Callable[[], Blocks],
    out: BinaryIO,
    advance: Callable[[int], None],
) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(out, header)
    for block in blocks():
        out.write(np.ascontiguousarray(block, dtype).tobytes())
        advance(len(block))


def _tokens_npz(split: str, store: TokenStore) -> Iterator[_File]:
    ids = store.ids
    for shard, rows in enumerate(_shards(store)):
        write = functools.partial(_write_npz, store, rows, ids[rows])
        clips = rows.stop - rows.start
        yield _File(f"{split}_{shard:05d}.npz", clips, _token_bytes(store), write)


def _write_npz(
    store: TokenStore,
    rows: slice,
    ids: list[str],
    out: BinaryIO,
    advance: Callable[[int], None],
) -> None:
    arrays: dict[str, Any] = {**_maps(store, rows), "ids": np.array(ids)}
    np.savez(out, **arrays)
    advance(len(ids))


def _maps(store: TokenStore, rows: slice) -> dict[str, np.ndarray]:
    tokens = store.read(np.arange(rows.start, rows.stop)).floats()
    return {
        "patches": np.asarray(tokens.patches).astype(np.float32),
        "cls": np.asarray(tokens.cls),
        "mask": np.asarray(tokens.mask),
    }


def _token_bytes(store: TokenStore) -> int:
    t, f, d = store.grid
    return 4 * (t * f + 1) * d + t


def _shards(store: TokenStore) -> Iterator[slice]:
    return (store.layout.rows(shard) for shard in store.layout.shards)


# Parquet


def _pooled_parquet(split: str, store: TokenStore) -> Iterator[_File]:
    write = functools.partial(_write_parquet, TokenStore.pooled, split, store)
    yield _File(f"pooled_{split}.parquet", store.n, 8 * store.grid[2], write)


def _tokens_parquet(split: str, store: TokenStore) -> Iterator[_File]:
    write = functools.partial(_write_parquet, _maps, split, store)
    yield _File(f"tokens_{split}.parquet", store.n, _token_bytes(store), write)


def _write_parquet(
    columns: Callable[[TokenStore, slice], dict[str, np.ndarray]],
    split: str,
    store: TokenStore,
    out: BinaryIO,
    advance: Callable[[int], None],
) -> None:
    """A row group per block, so that a reader need not hold more either."""
    arrow, parquet = _pyarrow()
    writer, ids = None, store.ids
    for rows in _shards(store):
        clips = range(rows.start, rows.stop)
        names = arrow.array(
            [_names(store, row) for row in clips], arrow.list_(arrow.string())
        )
        table = {
            "id": arrow.array(ids[rows]),
            "split": arrow.array([split] * len(clips)),
            "labels": names,
        }
        for name, x in columns(store, rows).items():
            values = arrow.array(x.reshape(-1))
            table[name] = arrow.FixedSizeListArray.from_arrays(values, x[0].size)
        block = arrow.table(table)
        writer = writer or parquet.ParquetWriter(
            out, block.schema, use_dictionary=["split", "labels.list.element"]
        )
        writer.write_table(block)
        advance(len(clips))
    if writer:
        writer.close()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet files need pyarrow, which is not installed: "
            "pip install 'unmute-jax[parquet]', or use --export npy"
        ) from error
    return pyarrow, pyarrow.parquet
