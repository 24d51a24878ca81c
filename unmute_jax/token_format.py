"""How token maps lie on disk.

A store is a folder of zarr3 arrays, written and read through tensorstore:

    manifest.json      key, sizes, classes, licences, geometry; `complete` when it is
    patches            [n, T, F, D] bfloat16 or float32
    inverse_norms      [n, T, F] float32, of the stored (rounded) patches
    mask               [n, T] bool
    cls                [n, D] float32
    mean, max, std     [n, D] float32, computed before the patches were rounded
    band_mean, ...     [n, F, D] float32, the same within each frequency band
    labels             [n, C] uint8
    layers             [n, L, T, F, D], only where asked for, typed as the patches
    layer_cls          [n, L, D] float32, likewise
    clips/0, 1, ...    ids and events of the clips of one shard, JSON

`CLIPS_PER_SHARD` clips in a row share a shard, that is one file per array, whoever
writes them and on however many devices. A file is written whole or not at all, the
patches last: a shard whose patches are there is finished, and that is all a resumed
pass needs to know. Among patches and layers every clip is its own chunk, so that
shuffled reads fetch what they need and nothing more. All chunks carry a CRC-32C: damage
is found, not read.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts

from unmute_jax.errors import InputError
from unmute_jax.token_key import FORMAT, MANIFEST, differences, plain

# Part of the format: which clips share a shard must not depend on anything else.
CLIPS_PER_SHARD = 64
TOKENS = ("patches", "inverse_norms", "mask", "cls")
LAYERS = ("layers", "layer_cls")
# What is large: read clip by clip, everything else is held in memory.
LARGE = ("patches", "layers")
VECTORS = ("cls", "mean", "max", "std")
BANDS = ("band_mean", "band_max", "band_std")
SUMMARY = VECTORS + BANDS
# Holds shard indices (1 KiB each), so that a shuffled read does not fetch them again.
CACHE_BYTES = 32 * 2**20
# In a sharded file: the place of a chunk, and the checksum of a chunk or of the index.
_PLACE_BYTES, _CRC_BYTES = 16, 4


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
        every = {
            "layers": ((n, l, t, f, d), self.dtype),
            "layer_cls": ((n, l, d), "float32"),
        }
        return {
            "patches": ((n, t, f, d), self.dtype),
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
        names = TOKENS + LAYERS if layers else TOKENS
        return sum(_nbytes(*self.arrays[name]) for name in names)

    @property
    def disk_bytes(self) -> int:
        """Bytes that the arrays of the finished store take on disk."""
        total = 0
        for name, (shape, dtype) in self.arrays.items():
            clip = _nbytes(shape[1:], dtype)
            if name in LARGE:
                index = CLIPS_PER_SHARD * _PLACE_BYTES + _CRC_BYTES
                total += self.clips * (clip + _CRC_BYTES) + len(self.shards) * index
            else:
                total += len(self.shards) * (CLIPS_PER_SHARD * clip + _CRC_BYTES)
        return total

    @property
    def files(self) -> list[str]:
        """Every file of the finished store that holds data."""
        return [f"clips/{shard}" for shard in self.shards] + [
            f"{name}/c/{shard}" + "/0" * (len(shape) - 1)
            for name, (shape, _) in self.arrays.items()
            for shard in self.shards
        ]


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


def read_manifest(path: pathlib.Path) -> dict[str, Any] | None:
    """What the manifest at `path` says, or None where there is none.

    Raises:
        InputError: It cannot be read.
    """
    with clear_errors(path):
        found = folder(path).read(MANIFEST).result()
        return json.loads(found.value) if found.state == "value" else None


def check_same(path: pathlib.Path, found: dict, wanted: dict) -> None:
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


def finished_shards(path: pathlib.Path) -> set[int]:
    """Indices of the shards that are wholly on disk."""
    prefix = "patches/c/"
    inside = ts.KvStore.KeyRange(prefix, prefix[:-1] + "0")  # "0" comes after "/".
    with clear_errors(path):
        names = folder(path).list(inside, strip_prefix_length=len(prefix)).result()
    return {int(name.split(b"/")[0]) for name in names}


def missing_files(path: pathlib.Path, layout: Layout) -> list[str]:
    """Files that should be there; tensorstore would read them as zeros."""
    with clear_errors(path):
        there = {name.decode() for name in folder(path).list().result()}
    return [name for name in layout.files if name not in there]


def open_arrays(
    path: pathlib.Path, layout: Layout, *, create: bool = False
) -> dict[str, ts.TensorStore]:
    """The arrays of a store, for reading or (`create`) for writing."""
    context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
    with clear_errors(path):
        opening = {
            name: ts.open(
                _spec(path, name, *array),
                context=context,
                create=create,
                open=True,
                read=not create,
                write=create,
            )
            for name, array in layout.arrays.items()
        }
        return {name: future.result() for name, future in opening.items()}


def folder(path: pathlib.Path) -> ts.KvStore:
    """The files of a store. Each is written beside, synced and renamed: all or none."""
    return ts.KvStore.open(_kvstore(path)).result()


@contextlib.contextmanager
def clear_errors(path: pathlib.Path) -> Generator[None, None, None]:
    """Turns what tensorstore and JSON raise into one line for a person."""
    try:
        yield
    except ValueError as error:
        refusal = re.search(r": ([^:]+) \[os_error_code", str(error))
        if refusal is not None:
            raise InputError(f"token store {path}: {refusal[1]}") from error
        raise damaged(path, error) from error


def damaged(path: pathlib.Path, why: object) -> InputError:
    """The error for a store whose bytes are not those that were written."""
    first = str(why).splitlines()[0][:300]
    return InputError(
        f"token store {path} is damaged ({first}): delete the folder and embed again"
    )


def _kvstore(path: pathlib.Path, name: str = "") -> dict[str, Any]:
    """Where bytes are kept; the one place to teach about other kinds of storage."""
    return {"driver": "file", "path": f"{path.absolute() / name}/"}


def _spec(
    path: pathlib.Path, name: str, shape: tuple[int, ...], dtype: str
) -> dict[str, Any]:
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
        "kvstore": _kvstore(path, name),
        # Silence may be all zeros; without this its shard would not be written.
        "store_data_equal_to_fill_value": True,
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
