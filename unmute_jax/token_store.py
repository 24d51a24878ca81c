"""Token maps on disk: written once, read at random, checked on every read.

A store is a folder of zarr3 arrays written through tensorstore:

    manifest.json      key, layout, classes, licence, geometry; complete when true
    patches            [n, T, F, D] bfloat16 or float32
    inverse_norms      [n, T, F] float32, of the stored (rounded) patches
    mask               [n, T] bool
    cls                [n, D] float32
    mean, max, std     [n, D] float32, computed before the patches were rounded
    labels             [n, C] uint8
    clips/0, 1, ...    ids and events of one shard, JSON

`CLIPS_PER_SHARD` clips in a row share a shard, that is one file per array, whoever
writes them and on however many devices. A file is written whole or not at all, the
patches last: a shard whose patches are there is finished, and that is all a resumed
pass needs to know. Among the patches every clip is its own chunk, so that shuffled
reads fetch what they need and nothing more. All chunks carry a CRC-32C: damage is
found, not read.
"""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import re
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts
from jaxtyping import Bool, Int, UInt8

from unmute_jax.errors import InputError
from unmute_jax.token_key import (
    FORMAT,
    MANIFEST,
    differences,
    explain_miss,
    plain,
    store_key,
    store_path,
)
from unmute_jax.tokens import Summary, Tokens

__all__ = [
    "CLIPS_PER_SHARD",
    "TokenStore",
    "TokenWriter",
    "explain_miss",
    "layout",
    "store_key",
    "store_path",
]

# Part of the format: which clips share a shard must not depend on anything else.
CLIPS_PER_SHARD = 64
TOKENS = ("patches", "inverse_norms", "mask", "cls")
SUMMARY = ("cls", "mean", "max", "std")
# Holds shard indices (1 KiB each), so that a shuffled read does not fetch them again.
CACHE_BYTES = 32 * 2**20
# In a sharded file: the place of a chunk, and the checksum of a chunk or of the index.
_PLACE_BYTES, _CRC_BYTES = 16, 4


@dataclass(frozen=True, eq=False)
class TokenStore:
    """The finished tokens of one split by one encoder. Made by `open` or by `embed`.

    Attributes:
        path: The folder.
        manifest: What `manifest.json` says.
    """

    path: pathlib.Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | pathlib.Path) -> TokenStore:
        """The store at `path`.

        Raises:
            InputError: There is none, it is unfinished, of another format or damaged.
        """
        path = pathlib.Path(path)
        manifest = read_manifest(path)
        if manifest is None:
            raise InputError(f"there is no token store at {path}")
        if manifest.get("format") != FORMAT:
            raise InputError(
                f"token store {path} has format {manifest.get('format')}, this program "
                f"reads format {FORMAT}: embed again"
            )
        if not manifest["complete"]:
            done, shards = len(finished_shards(path)), num_shards(manifest)
            raise InputError(
                f"token store {path} is unfinished ({done} of {shards} shards): "
                "embed again, it goes on where it stopped"
            )
        missing = _missing_files(path, manifest)
        if missing:
            raise damaged(path, f"{missing[0]} is missing")
        return cls(path, manifest)

    @property
    def n(self) -> int:
        """Number of clips."""
        return self.manifest["clips"]

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T, F, D): time steps, frequency bands, features."""
        t, f, d = self.manifest["grid"]
        return t, f, d

    @property
    def dtype(self) -> np.dtype:
        """The type of the stored patches."""
        return ts.dtype(self.manifest["dtype"]).numpy_dtype

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of `labels`."""
        return tuple(self.manifest["classes"])

    @property
    def key(self) -> dict[str, Any]:
        """Everything that changes the content (`store_key`)."""
        return self.manifest["key"]

    @property
    def encoder_identity(self) -> dict[str, Any]:
        """`identity()` of the encoder that made the tokens."""
        return self.key["encoder"]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that `load` takes."""
        shapes = layout(self.manifest)
        return sum(_nbytes(*shapes[name]) for name in TOKENS)

    @functools.cached_property
    def labels(self) -> UInt8[np.ndarray, "n C"]:
        """One where the class is in the clip, else zero."""
        return self._fetch("labels")["labels"]

    @property
    def mask(self) -> Bool[np.ndarray, "n T"]:
        """True for real time steps."""
        return self._held["mask"]

    @property
    def ids(self) -> list[str]:
        """Names of the clips, in the order of the data set."""
        return [clip["id"] for clip in self._clips]

    @property
    def events(self) -> list[tuple[tuple[int, float, float], ...]]:
        """Per clip: (class, onset, offset), in seconds, as far as they are known."""
        return [tuple(tuple(e) for e in clip["events"]) for clip in self._clips]

    def summary(self) -> Summary:
        """Fixed statistics of all clips, each `[n, D]` float32, without the patches."""
        return Summary(**self._fetch(*SUMMARY))

    def load(self) -> Tokens:
        """All tokens as arrays in memory; `nbytes` says beforehand how much."""
        return Tokens(**self._fetch(*TOKENS))

    def read(self, indices: Int[np.ndarray, "B"] | Sequence[int]) -> Tokens:
        """The tokens of some clips, in the given order; patches in their stored type.

        May be called from many threads. What is small beside the patches is held in
        memory from the first call on.

        Raises:
            IndexError: An index is not in `[0, n)`.
            InputError: The store is damaged.
        """
        rows = np.asarray(indices, np.int64)
        if rows.size and not (0 <= rows.min() and rows.max() < self.n):
            raise IndexError(f"clips {rows.min()}..{rows.max()} of {self.n}")
        held = {name: x[rows] for name, x in self._held.items()}
        return Tokens(**self._fetch("patches", rows=rows), **held)

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Refuses an encoder other than the one these tokens came from.

        Raises:
            InputError: Naming the fields that differ, stored value first.
        """
        lines = differences(self.encoder_identity, plain(identity))
        if lines:
            raise InputError(
                f"the tokens in {self.path} come from another encoder: "
                + "; ".join(lines)
            )

    @functools.cached_property
    def _held(self) -> dict[str, np.ndarray]:
        return self._fetch(*(name for name in TOKENS if name != "patches"))

    def _fetch(
        self, *names: str, rows: slice | np.ndarray = slice(None)
    ) -> dict[str, np.ndarray]:
        """Rows of some arrays, all of them by default, read at once."""
        try:
            # The reads of a batch are sent when it closes, joined where they touch.
            with ts.Batch() as batch:
                reads = {n: self._arrays[n][rows].read(batch=batch) for n in names}
            return {name: future.result() for name, future in reads.items()}
        except ValueError as error:
            raise damaged(self.path, error) from error

    @functools.cached_property
    def _arrays(self) -> dict[str, ts.TensorStore]:
        return open_arrays(self.path, self.manifest)

    @functools.cached_property
    def _clips(self) -> list[dict[str, Any]]:
        folder = _folder(self.path)
        names = [f"clips/{s}" for s in range(num_shards(self.manifest))]
        parts = [future.result().value for future in [folder.read(n) for n in names]]
        try:
            return [clip for part in parts for clip in json.loads(part)]
        except ValueError as error:
            raise damaged(self.path, error) from error


class TokenWriter:
    """Fills a store shard by shard; an interrupted one goes on where it stopped."""

    def __init__(self, path: str | pathlib.Path, manifest: dict[str, Any]):
        """Makes the store, or opens what an earlier pass left of it.

        Args:
            path: The folder.
            manifest: Of `new_manifest`; not yet complete.

        Raises:
            InputError: The folder holds something else.
        """
        self.path, self.manifest = pathlib.Path(path), manifest
        self._folder = _folder(self.path)
        found = read_manifest(self.path)
        if found is None:
            self._put(MANIFEST, manifest)
        else:
            check_same(self.path, found, manifest)
        try:
            self._arrays = open_arrays(self.path, manifest, create=True)
        except ValueError as error:
            raise damaged(self.path, error) from error

    def pending(self) -> list[int]:
        """The shards that are not finished, in order."""
        done = finished_shards(self.path)
        return [s for s in range(num_shards(self.manifest)) if s not in done]

    def write(
        self, shard: int, rows: dict[str, np.ndarray], clips: list[dict[str, Any]]
    ) -> None:
        """Writes one shard and returns when it is on disk.

        Args:
            shard: Its index.
            rows: Per array of the store, the rows of all clips of the shard.
            clips: Per clip: "id" and "events".

        Raises:
            InputError: The disk does not take it.
        """
        where = shard_rows(self.manifest, shard)
        self._put(f"clips/{shard}", clips)
        for name in rows:
            if name != "patches":
                self._write(name, where, rows[name])
        self._write("patches", where, rows["patches"])

    def finish(self) -> TokenStore:
        """Marks the store as complete.

        Raises:
            RuntimeError: Some shards have not been written.
        """
        if pending := self.pending():
            raise RuntimeError(f"shards {pending} of {self.path} are not written")
        self.manifest = {**self.manifest, "complete": True}
        self._put(MANIFEST, self.manifest)
        return TokenStore.open(self.path)

    def _write(self, name: str, where: slice, rows: np.ndarray) -> None:
        # Without the transaction every chunk would be written into the shard by itself.
        with self._disk_errors(), ts.Transaction() as transaction:
            self._arrays[name].with_transaction(transaction)[where] = rows

    def _put(self, name: str, value: Any) -> None:
        # Written beside, synced and renamed by tensorstore: the old or the new, whole.
        text = json.dumps(value, indent=1 if name == MANIFEST else None)
        with self._disk_errors():
            self._folder.write(name, text.encode()).result()

    @contextlib.contextmanager
    def _disk_errors(self) -> Generator[None, None, None]:
        """Turns a refusal of the operating system into a line for a person."""
        try:
            yield
        except ValueError as error:
            refusal = re.search(r": ([^:]+) \[os_error_code", str(error))
            if refusal is None:
                raise
            raise InputError(
                f"cannot write tokens to {self.path} ({refusal[1]}): once that is "
                "mended, embed again, it goes on where it stopped"
            ) from error


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
    fixed = {"format": FORMAT, "complete": False, "key": key, "dtype": key["dtype"]}
    sizes = {"clips": clips, "grid": list(grid), "classes": list(classes)}
    return plain({**fixed, **sizes, **about})


def layout(manifest: dict[str, Any]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every array of a store."""
    n, (t, f, d), c = manifest["clips"], manifest["grid"], len(manifest["classes"])
    return {
        "patches": ((n, t, f, d), manifest["dtype"]),
        "inverse_norms": ((n, t, f), "float32"),
        "mask": ((n, t), "bool"),
        **{name: ((n, d), "float32") for name in SUMMARY},
        "labels": ((n, c), "uint8"),
    }


def disk_bytes(manifest: dict[str, Any]) -> int:
    """Bytes that the arrays of a finished store take on disk."""
    shards, total = num_shards(manifest), 0
    for name, (shape, dtype) in layout(manifest).items():
        clip = _nbytes(shape[1:], dtype)
        if name == "patches":
            index = CLIPS_PER_SHARD * _PLACE_BYTES + _CRC_BYTES
            total += manifest["clips"] * (clip + _CRC_BYTES) + shards * index
        else:
            total += shards * (CLIPS_PER_SHARD * clip + _CRC_BYTES)
    return total


def num_shards(manifest: dict[str, Any]) -> int:
    """Number of shards of a store, the ragged last one included."""
    return -(-manifest["clips"] // CLIPS_PER_SHARD)


def shard_rows(manifest: dict[str, Any], shard: int) -> slice:
    """The clips of one shard."""
    start = shard * CLIPS_PER_SHARD
    return slice(start, min(start + CLIPS_PER_SHARD, manifest["clips"]))


def clips_in(manifest: dict[str, Any], shards: Iterable[int]) -> int:
    """Number of clips in these shards."""
    rows = [shard_rows(manifest, shard) for shard in shards]
    return sum(r.stop - r.start for r in rows)


def finished_shards(path: pathlib.Path) -> set[int]:
    """Indices of the shards that are wholly on disk."""
    prefix = "patches/c/"
    inside = ts.KvStore.KeyRange(prefix, prefix[:-1] + "0")  # "0" comes after "/".
    names = _folder(path).list(inside, strip_prefix_length=len(prefix)).result()
    return {int(name.split(b"/")[0]) for name in names}


def _missing_files(path: pathlib.Path, manifest: dict[str, Any]) -> list[str]:
    """Files that should be there; what is missing would be read as zeros."""
    wanted = [
        f"{name}/c/{shard}" + "/0" * (len(shape) - 1)
        for name, (shape, _) in layout(manifest).items()
        for shard in range(num_shards(manifest))
    ]
    wanted += [f"clips/{shard}" for shard in range(num_shards(manifest))]
    there = {name.decode() for name in _folder(path).list().result()}
    return [name for name in wanted if name not in there]


def read_manifest(path: pathlib.Path) -> dict[str, Any] | None:
    """What the manifest at `path` says, or None where there is none.

    Raises:
        InputError: It cannot be read.
    """
    text = _folder(path).read(MANIFEST).result()
    if text.state != "value":
        return None
    try:
        return json.loads(text.value)
    except ValueError as error:
        raise damaged(path, error) from error


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


def open_arrays(
    path: pathlib.Path, manifest: dict[str, Any], *, create: bool = False
) -> dict[str, ts.TensorStore]:
    """The arrays of a store, for reading or (`create`) for writing."""
    context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE_BYTES}})
    opening = {
        name: ts.open(
            _spec(path, name, *array),
            context=context,
            create=create,
            open=True,
            read=not create,
            write=create,
        )
        for name, array in layout(manifest).items()
    }
    return {name: future.result() for name, future in opening.items()}


def damaged(path: pathlib.Path, why: object) -> InputError:
    """The error for a store whose bytes are not those that were written."""
    first = str(why).splitlines()[0][:300]
    return InputError(
        f"token store {path} is damaged ({first}): delete the folder and embed again"
    )


def _kvstore(path: pathlib.Path, name: str = "") -> dict[str, Any]:
    """Where bytes are kept; the one place to teach about other kinds of storage."""
    return {"driver": "file", "path": f"{path.absolute() / name}/"}


def _folder(path: pathlib.Path) -> ts.KvStore:
    return ts.KvStore.open(_kvstore(path)).result()


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
            "codecs": sharded if name == "patches" else checked,
            "fill_value": False if dtype == "bool" else 0,
        },
    }


def _nbytes(shape: tuple[int, ...], dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * ts.dtype(dtype).numpy_dtype.itemsize
