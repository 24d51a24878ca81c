"""Exports token stores as files for other tools, in NumPy's formats or as Parquet.

Every export contains

    about.json    encoder, data set, classes, licences, geometry, (T, F, D)
    clips.csv     split, row, id and labels (names joined by ";") of every clip, in the
                  order of the rows of all other files

`what="pooled"`, one vector per clip, in the form "npy":

    mean_<split>.npy      [n, D] float32, the mean token
    cls_<split>.npy       [n, D] float32, the class token, or the mean if there is none
    labels_<split>.npy    [n, C] uint8, one where the class is in the clip

`what="tokens"`, token maps, in the form "npy", which `--config.encoder=tokens:FOLDER`
reads again (`encoders.exported`):

    tokens.json              name, description, licence, geometry and the digests of
                             all files; it is written last
    <split>_00000.npz, ...   64 clips each: patches [n, T, F, D] float32, cls [n, D],
                             mask [n, T] of real time steps, ids [n]

As Parquet there is one file per split: `pooled_<split>.parquet` with the columns id,
split, labels (a list of names), mean and cls, or `tokens_<split>.parquet` with id,
split, labels, patches (T * F * D numbers, features fastest), cls and mask.

Files are written whole or not at all, and existing files are not written again.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from unmute_jax.console import progress
from unmute_jax.datasets.tables import csv_text
from unmute_jax.encoders.exported import FACTS, read_facts, sealed, sha256_of_file
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import check_room, parse_json, write_atomically, writing
from unmute_jax.store.key import as_json
from unmute_jax.store.reader import TokenStore

EXPORT_KINDS, EXPORT_FORMATS = ("pooled", "tokens"), ("npy", "parquet")

# Consecutive blocks of the rows of an array.
Blocks = Iterator[np.ndarray]


@dataclass(frozen=True)
class _File:
    """A file to be written.

    Attributes:
        name: Name of the file in the folder.
        rows: Number of clips in it.
        row_bytes: Approximate size of one clip.
        write: Function that writes it and reports the rows it has written.
    """

    name: str
    rows: int
    row_bytes: int
    write: Callable[[BinaryIO, Callable[[int], None]], None]


def export_tokens(
    stores: Mapping[str, TokenStore], folder: str | pathlib.Path, what: str, form: str
) -> None:
    """Exports the tokens of all splits, with at most 64 token maps in memory.

    Args:
        stores: Stores of one data set and one encoder, by split.
        folder: Target folder. If it holds a part of the same export, the rest is added.
        what: "pooled" or "tokens".
        form: "npy" or "parquet".

    Raises:
        InputError: If the folder holds another export, the disk is too small, or
            pyarrow is missing.
    """
    check_export_options(what, form)
    folder = pathlib.Path(folder).expanduser()
    _write_or_check_about(folder, _about(stores, what, form))
    files_of = {
        ("pooled", "npy"): _pooled_npy,
        ("tokens", "npy"): _tokens_npz,
        ("pooled", "parquet"): _pooled_parquet,
        ("tokens", "parquet"): _tokens_parquet,
    }[what, form]
    files = [file for split, store in stores.items() for file in files_of(split, store)]
    todo = [file for file in files if not (folder / file.name).exists()]
    size = sum(file.rows * file.row_bytes for file in todo)
    check_room(folder, size, "the exported files")
    write_atomically(folder / "clips.csv", _clips_csv(stores))
    # Files of an earlier call keep the digests that it has written.
    known = read_facts(folder).get("files", {}) if (folder / FACTS).exists() else {}
    total = sum(file.rows for file in files)
    done = total - sum(file.rows for file in todo)
    with progress(f"exporting {what}", total, unit="rows", done=done) as advance:
        for file in todo:
            with writing(folder / file.name) as out:
                file.write(out, advance)
    if (what, form) == ("tokens", "npy"):
        digests = {
            file.name: sha256_of_file(folder / file.name)
            if file in todo or file.name not in known
            else known[file.name]
            for file in files
        }
        facts = sealed(_token_facts(next(iter(stores.values()))), digests)
        write_atomically(folder / FACTS, json.dumps(facts, indent=1) + "\n")


def check_export_options(what: str, form: str) -> None:
    """Refuses an export that is impossible, before anything is computed.

    Raises:
        InputError: If an option is unknown or pyarrow is missing.
    """
    if what not in EXPORT_KINDS:
        raise unknown_name("what to export", what, EXPORT_KINDS)
    if form not in EXPORT_FORMATS:
        raise unknown_name("form of export", form, EXPORT_FORMATS)
    if form == "parquet":
        _pyarrow()


# Descriptions of an export


def _about(stores: Mapping[str, TokenStore], what: str, form: str) -> dict[str, Any]:
    """Returns the content of `about.json`."""
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


def _token_facts(store: TokenStore) -> dict[str, Any]:
    """Returns the content of `tokens.json`."""
    name = store.encoder_identity["name"]
    texts = {k: store.manifest["encoder"][k] for k in ("description", "licence")}
    return {"name": name, **texts, **store.manifest["geometry"]}


def _write_or_check_about(folder: pathlib.Path, ours: dict[str, Any]) -> None:
    """Writes `about.json`, or checks that an existing one is the same."""
    path = folder / "about.json"
    try:
        theirs = parse_json(path.read_bytes())
    except FileNotFoundError:
        write_atomically(path, json.dumps(ours, indent=1) + "\n")
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    if not isinstance(theirs, dict):
        raise InputError(f"{path} cannot be read (it holds no object)")
    if other := [key for key in ours if theirs.get(key) != ours[key]]:
        raise InputError(
            f"{folder} holds another export (it differs in {', '.join(other)}): use "
            "another --output"
        )


def _clips_csv(stores: Mapping[str, TokenStore]) -> str:
    """Returns the content of `clips.csv`."""
    rows = (
        (split, row, clip, ";".join(_class_names(store, row)))
        for split, store in stores.items()
        for row, clip in enumerate(store.ids)
    )
    return csv_text([("split", "row", "id", "labels"), *rows])


def _class_names(store: TokenStore, row: int) -> list[str]:
    return [store.classes[c] for c in np.flatnonzero(store.labels[row])]


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
    for rows in _shard_rows(store):
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
    for shard, rows in enumerate(_shard_rows(store)):
        write = functools.partial(_write_npz, store, rows, ids[rows])
        clips = rows.stop - rows.start
        yield _File(f"{split}_{shard:05d}.npz", clips, _clip_bytes(store), write)


def _write_npz(
    store: TokenStore,
    rows: slice,
    ids: list[str],
    out: BinaryIO,
    advance: Callable[[int], None],
) -> None:
    arrays: dict[str, Any] = {**_token_maps(store, rows), "ids": np.array(ids)}
    np.savez(out, **arrays)
    advance(len(ids))


def _token_maps(store: TokenStore, rows: slice) -> dict[str, np.ndarray]:
    tokens = store.read(np.arange(rows.start, rows.stop)).floats()
    return {
        "patches": np.asarray(tokens.patches).astype(np.float32),
        "cls": np.asarray(tokens.cls),
        "mask": np.asarray(tokens.mask),
    }


def _clip_bytes(store: TokenStore) -> int:
    t, f, d = store.grid
    return 4 * (t * f + 1) * d + t


def _shard_rows(store: TokenStore) -> Iterator[slice]:
    return (store.layout.rows(shard) for shard in store.layout.shards)


# Parquet


def _pooled_parquet(split: str, store: TokenStore) -> Iterator[_File]:
    write = functools.partial(_write_parquet, TokenStore.pooled, split, store)
    yield _File(f"pooled_{split}.parquet", store.n, 8 * store.grid[2], write)


def _tokens_parquet(split: str, store: TokenStore) -> Iterator[_File]:
    write = functools.partial(_write_parquet, _token_maps, split, store)
    yield _File(f"tokens_{split}.parquet", store.n, _clip_bytes(store), write)


def _write_parquet(
    columns: Callable[[TokenStore, slice], dict[str, np.ndarray]],
    split: str,
    store: TokenStore,
    out: BinaryIO,
    advance: Callable[[int], None],
) -> None:
    """Writes one row group per shard, so that readers need little memory, too."""
    arrow, parquet = _pyarrow()
    writer, ids = None, store.ids
    for rows in _shard_rows(store):
        clips = range(rows.start, rows.stop)
        names = arrow.array(
            [_class_names(store, row) for row in clips], arrow.list_(arrow.string())
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
