"""Describes how token maps lie on disk.

A store is a folder of zarr3 arrays that are written and read through tensorstore:

    manifest.json      key, sizes, classes, licences, geometry, and if it is `complete`
    patches            [n, T, F, D] bfloat16, float32 or int8
    scales             [n, T, F] float32, for int8 only: the tokens are patches * scales
    patches_crc        [n] uint32, the CRC-32 of the bytes of each clip
    inverse_norms      [n, T, F] float32, of the stored (rounded) patches
    mask               [n, T] bool
    cls                [n, D] float32
    mean, max, std     [n, D] float32, computed before the patches were rounded
    band_mean, ...     [n, F, D] float32, the same within each frequency band
    labels             [n, C] uint8
    layers             [n, L, T, F, D], on request, of the type of the patches
    layers_crc         [n] uint32, on request
    layer_scales       [n, L, T, F] float32, on request, for int8 only
    layer_cls          [n, L, D] float32, on request
    layer_mean, ...    [n, L, D] float32, on request: mean, max, std of every layer
    clips/0, 1, ...    ids and events of the clips of one shard, JSON
    checksums/0, ...   the place of a shard and what belongs there, JSON (`checksums`)
    damaged/0, ...     empty: this shard was found damaged and must be recomputed

`CLIPS_PER_SHARD` consecutive clips form a shard, which is one file per array. This does
not depend on who writes them or on how many devices. Files are written whole or not at
all, and the patches come last: if its patches exist, a shard is finished, and a resumed
pass needs to know no more. Files never change, and tokens have the same bytes whoever
computes them on the same kind of device, so any number of processes may fill a store at
once without locks. On CPUs the last bits of means and deviations depend on the number
of cores of a process. Should two processes that differ in it write the same shard at
the same moment, its checksums may be those of the other: it then counts as damaged and
is computed again. In the
large arrays every clip is a chunk of its own, so that shuffled reads fetch the wanted
clips and nothing else. All chunks carry a CRC-32C and all JSON a part of its SHA-256,
so that damage is detected and never read. `patches_crc` and `layers_crc` serve the
reader's fast path (see `direct_reads`). What stands in the place of something else is
detected by the files in `checksums/`, which stores of earlier versions lack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from unmute_jax.io import parse_json
from unmute_jax.store.files import (
    CONTEXT,
    DamagedStoreError,
    PathOrUrl,
    kvstore_spec,
    list_files,
    open_kvstore,
    translate_errors,
)

# A part of the format: which clips share a shard must not depend on anything else.
CLIPS_PER_SHARD = 64
TOKEN_ARRAYS = ("patches", "scales", "inverse_norms", "mask", "cls")
LAYER_ARRAYS = ("layers", "layer_scales", "layer_cls")
# The large arrays. They are read clip by clip; all others fit in memory as a whole.
CHUNKED_BY_CLIP = ("patches", "layers", "layer_scales", "layer_cls")
CHECKSUMS = {"patches": "patches_crc", "layers": "layers_crc"}
CLIP_STATISTICS = ("cls", "mean", "max", "std")
BAND_STATISTICS = ("band_mean", "band_max", "band_std")
SUMMARY_ARRAYS = CLIP_STATISTICS + BAND_STATISTICS
# The statistics of every layer, in the order of CLIP_STATISTICS.
LAYER_STATISTICS = ("layer_cls", "layer_mean", "layer_max", "layer_std")
# Holds shard indices (1 KiB each), so that a shuffled read does not fetch them again.
CACHE_BYTES = 32 * 2**20
# Folder with one empty file per shard that was found damaged.
DAMAGE_MARKS = "damaged/"
# Bytes in a sharded file: an index entry, and the checksum of a chunk or of the index.
_INDEX_ENTRY_BYTES, CRC_BYTES = 16, 4


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The sizes of a store, and everything that follows from them.

    Attributes:
        clips: Number of clips, n.
        grid: Token grid (T, F, D).
        classes: Number of label columns, C.
        dtype: Type of the stored patches.
        layers: Number of layers whose tokens are stored, L; 0 if only those of one
            layer are.
        layer_summaries: Number of layers whose summaries are stored, L or 0.
        bound_to: The store that the files in `checksums/` name; empty if there are
            none, because an earlier version wrote the store.
    """

    clips: int
    grid: tuple[int, int, int]
    classes: int
    dtype: str
    layers: int = 0
    layer_summaries: int = 0
    bound_to: str = ""

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> Layout:
        """Returns the layout of the store with this manifest."""
        t, f, d = manifest["grid"]
        return cls(
            clips=manifest["clips"],
            grid=(t, f, d),
            classes=len(manifest["classes"]),
            dtype=manifest["key"]["dtype"],
            layers=manifest["key"].get("layers", 0),
            layer_summaries=manifest["key"].get("layer_summaries", 0),
            bound_to=manifest.get("bound_to", ""),
        )

    @property
    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of every array, by name."""
        n, (t, f, d), l = self.clips, self.grid, self.layers
        of_layers = (n, self.layer_summaries, d)
        layers: dict[str, tuple[tuple[int, ...], str]] = {
            "layers": ((n, l, t, f, d), self.dtype),
            "layers_crc": ((n,), "uint32"),
            "layer_cls": ((n, l, d), "float32"),
        }
        scales: dict[str, tuple[tuple[int, ...], str]] = {}
        if self.dtype == "int8":
            scales["scales"] = ((n, t, f), "float32")
            layers["layer_scales"] = ((n, l, t, f), "float32")
        return {
            "patches": ((n, t, f, d), self.dtype),
            "patches_crc": ((n,), "uint32"),
            **scales,
            "inverse_norms": ((n, t, f), "float32"),
            "mask": ((n, t), "bool"),
            **{name: ((n, d), "float32") for name in CLIP_STATISTICS},
            **{name: ((n, f, d), "float32") for name in BAND_STATISTICS},
            "labels": ((n, self.classes), "uint8"),
            **(layers if l else {}),
            **{
                name: (of_layers, "float32")
                for name in (LAYER_STATISTICS if self.layer_summaries else ())
            },
        }

    @property
    def shards(self) -> range:
        """Indices of all shards, including the ragged last one."""
        return range(-(-self.clips // CLIPS_PER_SHARD))

    def rows(self, shard: int) -> slice:
        """Returns the clips of one shard."""
        start = shard * CLIPS_PER_SHARD
        return slice(start, min(start + CLIPS_PER_SHARD, self.clips))

    def count_clips(self, shards: Iterable[int]) -> int:
        """Returns the number of clips in some shards."""
        rows = [self.rows(shard) for shard in shards]
        return sum(r.stop - r.start for r in rows)

    def token_bytes(self, *, layers: bool = False) -> int:
        """Returns the bytes of memory that all tokens take, with or without layers."""
        names = self.existing(TOKEN_ARRAYS + LAYER_ARRAYS if layers else TOKEN_ARRAYS)
        return sum(_nbytes(*self.arrays[name]) for name in names)

    def existing(self, names: Iterable[str]) -> list[str]:
        """Returns those of `names` that are arrays of the store."""
        return [name for name in names if name in self.arrays]

    @property
    def disk_bytes(self) -> int:
        """Bytes that the arrays of the finished store take on disk."""
        total = 0
        for name, (shape, dtype) in self.arrays.items():
            clip = _nbytes(shape[1:], dtype)
            if name in CHUNKED_BY_CLIP:
                index = CLIPS_PER_SHARD * _INDEX_ENTRY_BYTES + CRC_BYTES
                total += self.clips * (clip + CRC_BYTES) + len(self.shards) * index
            else:
                total += len(self.shards) * (CLIPS_PER_SHARD * clip + CRC_BYTES)
        return total

    def shard_files(self, shard: int) -> list[str]:
        """Returns the names of all files that hold data of one shard."""
        arrays = [self.shard_file(name, shard) for name in self.arrays]
        checksums = [checksum_file(shard)] if self.bound_to else []
        return [f"clips/{shard}", *checksums, *arrays]

    def shard_file(self, name: str, shard: int) -> str:
        """Returns the name of the file with one shard of an array."""
        shape, _ = self.arrays[name]
        return f"{name}/c/{shard}" + "/0" * (len(shape) - 1)


def checksum_file(shard: int) -> str:
    """Returns the name of the file that binds a shard to its place."""
    return f"checksums/{shard}"


def is_shard_finished(store: PathOrUrl, layout: Layout, shard: int) -> bool:
    """Whether all files of a shard exist and it is not marked as damaged."""
    files = open_kvstore(store)
    names = [*layout.shard_files(shard), f"{DAMAGE_MARKS}{shard}"]
    with translate_errors(store):
        listings = [files.list(ts.KvStore.KeyRange(n, n + "/")) for n in names]
        *exist, is_marked = [bool(listing.result()) for listing in listings]
    return all(exist) and not is_marked


def unusable_shards(store: PathOrUrl, layout: Layout) -> dict[int, str]:
    """Finds the shards that lack files or are marked as damaged.

    The contents of the files are not read.

    Returns:
        The reason for each unusable shard, by shard.
    """
    existing = set(list_files(store))
    reasons = {}
    for shard in layout.shards:
        missing = [name for name in layout.shard_files(shard) if name not in existing]
        if missing:
            reasons[shard] = f"{missing[0]} is missing"
        elif f"{DAMAGE_MARKS}{shard}" in existing:
            reasons[shard] = f"shard {shard} was found damaged"
    return reasons


def open_arrays(
    store: PathOrUrl, layout: Layout, names: Sequence[str] | None = None
) -> dict[str, ts.TensorStore]:
    """Opens the arrays of a store for reading: all of them, or those named.

    Raises:
        DamagedStoreError: If the description of an array is missing or was altered.
    """
    context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}}, CONTEXT)
    names = list(layout.arrays) if names is None else names
    _check_descriptions(store, names)
    with translate_errors(store):
        opening = {
            name: ts.open(
                {"kvstore": kvstore_spec(store, name), **array_spec(name, *array)},
                context=context,
                read=True,
                open=True,
            )
            for name, array in layout.arrays.items()
            if name in names
        }
        return {name: future.result() for name, future in opening.items()}


def _check_descriptions(store: PathOrUrl, names: Iterable[str]) -> None:
    """Refuses descriptions of arrays with which tensorstore would end the process.

    It has no limit for the depth of JSON.
    """
    files = open_kvstore(store)
    with translate_errors(store):
        reads = {name: files.read(f"{name}/zarr.json") for name in names}
        for name, read in reads.items():
            if read.result().state != "value":
                raise DamagedStoreError(store, f"{name}/zarr.json is missing")
            try:
                parse_json(read.result().value)
            except ValueError as error:
                why = f"{name}/zarr.json is not JSON: {error}"
                raise DamagedStoreError(store, why) from error


def array_spec(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    """Returns tensorstore's specification of an array, without its location."""
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
        # Tokens may be all zeros; without this their shard would not be written.
        "store_data_equal_to_fill_value": True,
        # A file that goes missing after the store was opened must not read as zeros.
        "fill_missing_data_reads": False,
        # A finished store never changes, so its cached parts stay valid.
        "recheck_cached_data": "open",
        "recheck_cached_metadata": "open",
        "metadata": {
            "shape": list(shape),
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": shard},
            "codecs": sharded if name in CHUNKED_BY_CLIP else checked,
            "fill_value": False if dtype == "bool" else 0,
        },
    }


def _nbytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * ts.dtype(dtype).numpy_dtype.itemsize
