"""How token maps lie on disk.

A store is a folder of zarr3 arrays, written and read through tensorstore:

    manifest.json      key, sizes, classes, licences, geometry; `complete` when it is
    patches            [n, T, F, D] bfloat16, float32 or int8
    scales             [n, T, F] float32, only of int8: `patches * scales` is meant
    patches_crc        [n] uint32, the CRC-32 of the bytes of each clip
    inverse_norms      [n, T, F] float32, of the stored (rounded) patches
    mask               [n, T] bool
    cls                [n, D] float32
    mean, max, std     [n, D] float32, computed before the patches were rounded
    band_mean, ...     [n, F, D] float32, the same within each frequency band
    labels             [n, C] uint8
    layers             [n, L, T, F, D], only where asked for, typed as the patches
    layers_crc         [n] uint32, likewise
    layer_scales       [n, L, T, F] float32, of int8 alone
    layer_cls          [n, L, D] float32, likewise
    clips/0, 1, ...    ids and events of the clips of one shard, JSON
    damaged/0, ...     empty: this shard was found damaged, it is to be made again

`CLIPS_PER_SHARD` clips in a row share a shard, that is one file per array, whoever
writes them and on however many devices. A file is put in its place whole or not at all,
the patches last: a shard whose patches are there is finished, and that is all a resumed
pass needs to know. No file is ever changed, and a shard is the same bytes whoever makes
it: any number of processes may fill a store at once, without locks. Among patches and
layers every clip is its own chunk, so that shuffled reads fetch what they need and
nothing more. All chunks carry a CRC-32C, JSON carries part of its SHA-256: damage is
found, not read. (`clip_reads` says what the other CRC is for.)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from unmute_jax.errors import InputError
from unmute_jax.store.files import (
    CONTEXT,
    DamagedStore,
    Place,
    clear_errors,
    folder,
    key_value_store,
    list_files,
    read_file,
    unsealed,
)
from unmute_jax.store.key import FORMAT, MANIFEST, differences, plain

# Part of the format: which clips share a shard must not depend on anything else.
CLIPS_PER_SHARD = 64
TOKENS = ("patches", "scales", "inverse_norms", "mask", "cls")
LAYERS = ("layers", "layer_scales", "layer_cls")
# What is large: read clip by clip, everything else is held in memory.
LARGE = ("patches", "layers", "layer_scales", "layer_cls")
CHECKS = {"patches": "patches_crc", "layers": "layers_crc"}
VECTORS = ("cls", "mean", "max", "std")
BANDS = ("band_mean", "band_max", "band_std")
SUMMARY = VECTORS + BANDS
# Holds shard indices (1 KiB each), so that a shuffled read does not fetch them again.
CACHE_BYTES = 32 * 2**20
# One empty file per shard that somebody found damaged.
MARKS = "damaged/"
# In a sharded file: the place of a chunk, and the checksum of a chunk or of the index.
_PLACE_BYTES, CRC_BYTES = 16, 4


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes of a store, and all that follows from them.

    Attributes:
        clips: Number of clips, n.
        grid: (T, F, D).
        classes: Number of label columns, C.
        dtype: Of the patches.
        layers: L; 0 where the last layer alone is kept.
    """

    clips: int
    grid: tuple[int, int, int]
    classes: int
    dtype: str
    layers: int = 0

    @classmethod
    def of(cls, manifest: dict[str, Any]) -> Layout:
        """The layout of the store with this manifest."""
        t, f, d = manifest["grid"]
        return cls(
            clips=manifest["clips"],
            grid=(t, f, d),
            classes=len(manifest["classes"]),
            dtype=manifest["key"]["dtype"],
            layers=manifest["key"].get("layers", 0),
        )

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of every array."""
        n, (t, f, d), l = self.clips, self.grid, self.layers
        every: dict[str, tuple[tuple[int, ...], str]] = {
            "layers": ((n, l, t, f, d), self.dtype),
            "layers_crc": ((n,), "uint32"),
            "layer_cls": ((n, l, d), "float32"),
        }
        scales: dict[str, tuple[tuple[int, ...], str]] = {}
        if self.dtype == "int8":
            scales["scales"] = ((n, t, f), "float32")
            every["layer_scales"] = ((n, l, t, f), "float32")
        return {
            "patches": ((n, t, f, d), self.dtype),
            "patches_crc": ((n,), "uint32"),
            **scales,
            "inverse_norms": ((n, t, f), "float32"),
            "mask": ((n, t), "bool"),
            **{name: ((n, d), "float32") for name in VECTORS},
            **{name: ((n, f, d), "float32") for name in BANDS},
            "labels": ((n, self.classes), "uint8"),
            **(every if l else {}),
        }

    @property
    def shards(self) -> range:
        """The shards, the ragged last one included."""
        return range(-(-self.clips // CLIPS_PER_SHARD))

    def rows(self, shard: int) -> slice:
        """The clips of one shard."""
        start = shard * CLIPS_PER_SHARD
        return slice(start, min(start + CLIPS_PER_SHARD, self.clips))

    def clips_in(self, shards: Iterable[int]) -> int:
        """Number of clips in some shards."""
        rows = [self.rows(shard) for shard in shards]
        return sum(r.stop - r.start for r in rows)

    def token_bytes(self, *, layers: bool = False) -> int:
        """Bytes of memory that all `Tokens` take, with their layers or without."""
        names = self.names_of(TOKENS + LAYERS if layers else TOKENS)
        return sum(_nbytes(*self.arrays[name]) for name in names)

    def names_of(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that the store has an array of."""
        return [name for name in names if name in self.arrays]

    @property
    def disk_bytes(self) -> int:
        """Bytes that the arrays of the finished store take on disk."""
        total = 0
        for name, (shape, dtype) in self.arrays.items():
            clip = _nbytes(shape[1:], dtype)
            if name in LARGE:
                index = CLIPS_PER_SHARD * _PLACE_BYTES + CRC_BYTES
                total += self.clips * (clip + CRC_BYTES) + len(self.shards) * index
            else:
                total += len(self.shards) * (CLIPS_PER_SHARD * clip + CRC_BYTES)
        return total

    def files(self, shard: int) -> list[str]:
        """Every file that holds data of one shard."""
        return [f"clips/{shard}"] + [self.file(name, shard) for name in self.arrays]

    def file(self, name: str, shard: int) -> str:
        """The file with the rows of an array that belong to one shard."""
        shape, _ = self.arrays[name]
        return f"{name}/c/{shard}" + "/0" * (len(shape) - 1)


def new_manifest(
    key: dict, *, clips: int, grid: Sequence[int], classes: Sequence[str], **about: Any
) -> dict[str, Any]:
    """The manifest of a store that is about to be filled.

    Args:
        key: Of `store_key`.
        clips: Number of clips.
        grid: (T, F, D).
        classes: Names of the label columns.
        about: What a reader may want to know besides (licence, geometry, ...).
    """
    sizes = {"clips": clips, "grid": grid, "classes": classes}
    return plain({"format": FORMAT, "complete": False, "key": key, **sizes, **about})


def read_manifest(path: Place) -> dict[str, Any] | None:
    """What the manifest at `path` says, or None where there is none.

    Raises:
        InputError: It cannot be read, or is of another format.
        DamagedStore: It was altered.
    """
    data = read_file(path, MANIFEST)
    if data is None:
        return None
    try:
        manifest = unsealed(data)
    except ValueError as error:
        manifest = _unchecked(data)
        if manifest is None:
            why = f"the checksum of {MANIFEST} does not match"
            raise DamagedStore(path, why) from error
    if manifest["format"] == FORMAT:
        return manifest
    raise InputError(
        f"token store {path} has format {manifest['format']}, this program reads "
        f"format {FORMAT}: embed again"
    )


def _unchecked(data: bytes) -> dict[str, Any] | None:
    """A manifest of the first formats, which had no checksum; None if it is no such."""
    with contextlib.suppress(ValueError):
        found = json.loads(data)
        if isinstance(found, dict) and "checksum" not in found:
            return found if found.get("format", FORMAT) != FORMAT else None
    return None


def check_same(path: Place, found: dict, wanted: dict) -> None:
    """Refuses a folder that was made for other tokens than its name says.

    Raises:
        InputError: Naming what differs.
    """
    fields = ("key", "clips", "grid", "classes")
    lines = differences(*({f: m.get(f) for f in fields} for m in (found, wanted)))
    if lines:
        raise InputError(
            f"token store {path} holds other tokens than its name says "
            f"({'; '.join(lines)}): delete the folder and embed again"
        )


def is_finished(path: Place, layout: Layout, shard: int) -> bool:
    """Whether a shard is on disk and not known to be damaged."""
    files, names = folder(path), [*layout.files(shard), f"{MARKS}{shard}"]
    with clear_errors(path):
        listed = [files.list(ts.KvStore.KeyRange(n, n + "/")) for n in names]
        *there, marked = [bool(future.result()) for future in listed]
    return all(there) and not marked


def unsound_shards(path: Place, layout: Layout) -> dict[int, str]:
    """The shards that lack files or are known to be damaged, and why of each.

    Without a look into the files.
    """
    there = set(list_files(path))
    found = {}
    for shard in layout.shards:
        missing = [name for name in layout.files(shard) if name not in there]
        if missing:
            found[shard] = f"{missing[0]} is missing"
        elif f"{MARKS}{shard}" in there:
            found[shard] = f"shard {shard} was found damaged"
    return found


def open_arrays(
    path: Place, layout: Layout, names: Sequence[str] | None = None
) -> dict[str, ts.TensorStore]:
    """The arrays of a store, or some of them, for reading.

    Raises:
        DamagedStore: What describes an array is missing or was altered.
    """
    context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}}, CONTEXT)
    with clear_errors(path):
        opening = {
            name: ts.open(
                {"kvstore": key_value_store(path, name), **_spec(name, *array)},
                context=context,
                read=True,
                open=True,
            )
            for name, array in layout.arrays.items()
            if names is None or name in names
        }
        return {name: future.result() for name, future in opening.items()}


def descriptions(layout: Layout) -> dict[str, bytes]:
    """The files that describe the arrays of a store to tensorstore."""
    return {
        f"{name}/zarr.json": _made_in_memory(name, shape, dtype)["zarr.json"]
        for name, (shape, dtype) in layout.arrays.items()
    }


def shard_file(layout: Layout, name: str, shard: int, rows: np.ndarray) -> bytes:
    """What the file holds that has the rows of one shard of an array.

    Raises:
        RuntimeError: They are of another size or type than the array.
    """
    (_, *sizes), dtype = layout.arrays[name]
    wanted = (layout.clips_in([shard]), *sizes), ts.dtype(dtype).numpy_dtype
    if (rows.shape, rows.dtype) != wanted:
        found = f"{rows.shape} {rows.dtype}"
        raise RuntimeError(f"rows of {name} are {found}, not {wanted[0]} {wanted[1]}")
    files = _made_in_memory(name, rows.shape, dtype, rows)
    del files["zarr.json"]
    (data,) = files.values()
    return data


def _made_in_memory(
    name: str, shape: tuple[int, ...], dtype: str, rows: np.ndarray | None = None
) -> dict[str, bytes]:
    """What tensorstore writes for an array."""
    context = ts.Context()
    files = ts.KvStore.open("memory://", context=context).result()
    array = ts.open(
        {"kvstore": "memory://", **_spec(name, shape, dtype)},
        context=context,
        create=True,
    ).result()
    if rows is not None:
        # Without the transaction, each chunk would be written into the file alone.
        with ts.Transaction() as transaction:
            array.with_transaction(transaction)[...] = rows
    return {key.decode(): files[key] for key in files.list().result()}


def _spec(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    little_endian = {"name": "bytes", "configuration": {"endian": "little"}}
    checked = [little_endian, {"name": "crc32c"}]
    by_clip = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": checked,
        "index_codecs": checked,
    }
    sharded = [{"name": "sharding_indexed", "configuration": by_clip}]
    shard = {"chunk_shape": [CLIPS_PER_SHARD, *shape[1:]]}
    return {
        "driver": "zarr3",
        # Silence may be all zeros; without this its shard would not be written.
        "store_data_equal_to_fill_value": True,
        # A file that goes missing after the store was opened must not read as zeros.
        "fill_missing_data_reads": False,
        # A finished store never changes: what was cached stays valid.
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
        "metadata": {
            "shape": list(shape),
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": shard},
            "codecs": sharded if name in LARGE else checked,
            "fill_value": False if dtype == "bool" else 0,
        },
    }


def _nbytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * ts.dtype(dtype).numpy_dtype.itemsize
