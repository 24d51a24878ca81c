"""Reads token stores: at random, from many threads, with every read checked."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import sys
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import tensorstore as ts
from jaxtyping import Bool, Float, Int, UInt8

from unmute_jax.errors import InputError
from unmute_jax.store.checksums import (
    ShardChecksums,
    decode_checksums,
    decode_clips,
    first_misplaced,
)
from unmute_jax.store.damage import mark_damage
from unmute_jax.store.direct_reads import read_clips
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    open_kvstore,
    path_or_url,
    translate_errors,
)
from unmute_jax.store.key import as_json, key_differences
from unmute_jax.store.layout import (
    BAND_STATISTICS,
    CHECKSUMS,
    CLIP_STATISTICS,
    CLIPS_PER_SHARD,
    LAYER_ARRAYS,
    LAYER_STATISTICS,
    SUMMARY_ARRAYS,
    TOKEN_ARRAYS,
    Layout,
    checksum_file,
    open_arrays,
    unusable_shards,
)
from unmute_jax.store.manifest import check_bound_to, read_manifest
from unmute_jax.tokens import Summary, Tokens


@dataclass(frozen=True, eq=False)
class TokenStore:
    """The finished tokens of one split by one encoder.

    `TokenStore.open` opens a store and `embed` makes one.

    Attributes:
        path: Folder or URL of the store.
        manifest: Content of `manifest.json`.
        checked: How it was checked that the encoder still gives these tokens; empty
            where their key says it.
    """

    path: PathOrUrl
    manifest: dict[str, Any]
    checked: str = ""

    @classmethod
    def open(cls, path: str | pathlib.Path) -> TokenStore:
        """Opens the store at `path`.

        Raises:
            InputError: If there is none, or it is unfinished or of another format.
            DamagedStoreError: If it is known to be damaged.
        """
        path = path_or_url(path)
        manifest = read_manifest(path)
        if manifest is None:
            raise InputError(f"there is no token store at {path}")
        check_bound_to(path, manifest)
        layout = Layout.from_manifest(manifest)
        unusable = unusable_shards(path, layout)
        if not manifest["complete"]:
            done = layout.clips - layout.count_clips(unusable)
            raise InputError(
                f"token store {path} is unfinished ({done} of {layout.clips} clips): "
                "embed again to resume where it stopped"
            )
        if unusable:
            raise DamagedStoreError(path, next(iter(unusable.values())))
        store = cls(path, manifest)
        _ = store._arrays  # The descriptions of the arrays may be damaged, too.
        return store

    @functools.cached_property
    def layout(self) -> Layout:
        """Sizes of the store."""
        return Layout.from_manifest(self.manifest)

    @property
    def n(self) -> int:
        """Number of clips."""
        return self.layout.clips

    @property
    def grid(self) -> tuple[int, int, int]:
        """Token grid (T, F, D): time steps, frequency bands, features."""
        return self.layout.grid

    @property
    def dtype(self) -> np.dtype:
        """Type of the stored patches."""
        return ts.dtype(self.layout.dtype).numpy_dtype

    def nbytes(self, *, layers: bool = False) -> int:
        """Returns the bytes of memory that `load` takes."""
        return self.layout.token_bytes(layers=layers)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the columns of `labels`."""
        return tuple(self.manifest["classes"])

    @property
    def key(self) -> dict[str, Any]:
        """Everything that changes the content, as returned by `store_key`."""
        return self.manifest["key"]

    @property
    def layer(self) -> int | None:
        """Layer whose tokens these are; None for the last one."""
        return self.key.get("layer")

    @property
    def encoder_identity(self) -> dict[str, Any]:
        """Identity of the encoder that made the tokens."""
        return self.key["encoder"]

    @functools.cached_property
    def labels(self) -> UInt8[np.ndarray, "n C"]:
        """One where the class is in the clip, zero elsewhere."""
        return self._fetch("labels")["labels"]

    @property
    def mask(self) -> Bool[np.ndarray, "n T"]:
        """True for real time steps."""
        return self._small_arrays["mask"]

    @property
    def ids(self) -> list[str]:
        """Names of the clips, in the order of the data set."""
        return [clip["id"] for clip in self._clips]

    @property
    def events(self) -> list[tuple[tuple[int, float, float], ...]]:
        """The known events of each clip: (class, onset, offset), in seconds."""
        return [
            tuple(
                (c, float(onset), float(offset)) for c, onset, offset in clip["events"]
            )
            for clip in self._clips
        ]

    def summary(self) -> Summary:
        """Reads the fixed statistics of all clips, without the patches."""
        return Summary(**self._fetch(*SUMMARY_ARRAYS))

    def layer_summary(self) -> Summary:
        """Reads the fixed statistics of all layers, without frequency bands."""
        pairs = zip(
            CLIP_STATISTICS, self._fetch(*LAYER_STATISTICS).values(), strict=True
        )
        arrays = dict(pairs)
        n, l, d = arrays["cls"].shape
        bands = np.zeros((n, l, 0, d), np.float32)
        return Summary(**arrays, **dict.fromkeys(BAND_STATISTICS, bands))

    def pooled(self, rows: slice) -> dict[str, Float[np.ndarray, "B D"]]:
        """Reads `mean` and `cls` of some clips, and nothing else of their summary."""
        return self._fetch("mean", "cls", rows=rows)

    def tokens_of(self, rows: slice) -> Tokens:
        """Reads the tokens of some clips and nothing of others, finished or not."""
        small = self._fetch(*self._small_names, CHECKSUMS["patches"], rows=rows)
        expected = small.pop(CHECKSUMS["patches"])
        patches = self._fetch_clips("patches", rows, expected)
        return Tokens(patches=patches, layer=self.layer, **small)

    def load(self, *, layers: bool = False) -> Tokens:
        """Reads all tokens into memory; `nbytes` tells how much that takes."""
        names = self.layout.existing(("patches", *(LAYER_ARRAYS if layers else ())))
        every = slice(None)
        large: dict[str, Any] = {
            name: self._fetch_clips(name, every, self._clip_checksums(name, every))
            for name in names
        }
        return Tokens(**large, **self._fetch(*self._small_names), layer=self.layer)

    def read(
        self, indices: Int[np.ndarray, "B"] | Sequence[int], *, layers: bool = False
    ) -> Tokens:
        """Reads the tokens of some clips, in the given order.

        Patches come in their stored type; `Tokens.floats` decodes int8. May be called
        from many threads. The first call reads the small arrays of all clips into
        memory.

        Args:
            indices: Clips to read.
            layers: Whether to read the tokens of all layers, too, if they are stored.

        Raises:
            IndexError: If an index is not in `[0, n)`.
            DamagedStoreError: If bytes were altered. The next `embed` recomputes the
                damaged shard.
        """
        rows = np.asarray(indices, np.int64)
        if rows.size and not (0 <= rows.min() and rows.max() < self.n):
            raise IndexError(f"clips {rows.min()}..{rows.max()} of {self.n}")
        small: dict[str, Any] = {n: x[rows] for n, x in self._small_arrays.items()}
        names = self.layout.existing(("patches", *(LAYER_ARRAYS if layers else ())))
        large: dict[str, Any] = {name: self._read_clips(name, rows) for name in names}
        return Tokens(**large, **small, layer=self.layer)

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Refuses an encoder other than the one that made these tokens.

        Raises:
            InputError: If they differ; the message names the fields, with the stored
                value first.
        """
        lines = key_differences(self.encoder_identity, as_json(identity))
        if lines:
            raise InputError(
                f"the tokens in {self.path} come from another encoder: "
                + "; ".join(lines)
            )

    @property
    def _small_names(self) -> list[str]:
        """Names of the arrays of `Tokens` except the patches."""
        return [n for n in self.layout.existing(TOKEN_ARRAYS) if n != "patches"]

    @functools.cached_property
    def _small_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of `Tokens` except the patches, of all clips."""
        return self._fetch(*self._small_names)

    def _read_clips(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Reads clips of a large array, without tensorstore if that is possible."""
        expected, path = self._clip_checksums(name, rows), self.path
        if expected is not None and len(rows) and sys.byteorder == "little":
            if isinstance(path, pathlib.Path):
                clips = read_clips(path, self.layout, name, rows, expected)
                if clips is not None:
                    return clips
        return self._fetch_clips(name, rows, expected)

    def _fetch(self, *names: str, rows: slice = slice(None)) -> dict[str, Any]:
        """Reads rows of small arrays and checks that they belong to their place."""
        start, stop, _ = rows.indices(self.n)
        shards = range(start // CLIPS_PER_SHARD, -(-stop // CLIPS_PER_SHARD))
        first = shards.start * CLIPS_PER_SHARD
        arrays = self._read_rows(names, slice(first, shards.stop * CLIPS_PER_SHARD))
        for shard, checksums in self._shard_checksums(shards).items():
            place = self.layout.rows(shard)
            here = slice(place.start - first, place.stop - first)
            for name, x in arrays.items():
                if first_misplaced(name, x[here], checksums[name]) is not None:
                    self._refuse(shard, f"{name} of shard {shard}")
        return {name: x[start - first : stop - first] for name, x in arrays.items()}

    def _fetch_clips(
        self, name: str, rows: slice | np.ndarray, expected: np.ndarray | None
    ) -> np.ndarray:
        """Reads clips of a large array and compares them with their checksums."""
        clips = self._read_rows([name], rows)[name]
        if expected is not None:
            wrong = first_misplaced(name, clips, expected)
            if wrong is not None:
                clip = int(np.arange(self.n)[rows][wrong])
                self._refuse(clip // CLIPS_PER_SHARD, f"{name} of clip {clip}")
        return clips

    def _read_rows(
        self, names: Sequence[str], rows: slice | np.ndarray
    ) -> dict[str, np.ndarray]:
        """Reads rows of some arrays through tensorstore, all at once."""
        clips = np.arange(self.n)[rows]
        if isinstance(rows, slice):
            rows = slice(*rows.indices(self.n))
        try:
            # The reads of a batch are sent when it closes, joined where they touch.
            with translate_errors(self.path), ts.Batch() as batch:
                reads = {n: self._arrays[n][rows].read(batch=batch) for n in names}
            with translate_errors(self.path):
                return {name: future.result() for name, future in reads.items()}
        except DamagedStoreError:
            shards = np.unique(clips // CLIPS_PER_SHARD)
            mark_damage(self.path, self.layout, shards.tolist())
            raise

    def _refuse(self, shard: int, what: str) -> NoReturn:
        """Marks a shard in which something stands in the place of something else."""
        mark_damage(self.path, self.layout, [shard])
        raise DamagedStoreError(self.path, f"{what}: not what was written there")

    def _clip_checksums(self, name: str, rows: slice | np.ndarray) -> np.ndarray | None:
        """Returns the checksums of clips of a large array, if the store has them."""
        if name in CHECKSUMS:
            return self._checksums[name][rows]
        if not self.layout.bound_to:
            return None
        shards, positions = np.divmod(np.arange(self.n)[rows], CLIPS_PER_SHARD)
        known = self._shard_checksums(np.unique(shards).tolist())
        pairs = zip(shards.tolist(), positions.tolist(), strict=True)
        return np.asarray([known[s][name][i] for s, i in pairs], np.uint32)

    @functools.cached_property
    def _checksums(self) -> dict[str, np.ndarray]:
        names = {name: c for name, c in CHECKSUMS.items() if c in self.layout.arrays}
        arrays = self._fetch(*names.values())
        return {name: arrays[checksum] for name, checksum in names.items()}

    def _shard_checksums(self, shards: Iterable[int]) -> dict[int, ShardChecksums]:
        """Returns what belongs to some shards, or nothing if the store does not say."""
        if not self.layout.bound_to:
            return {}
        files, known = open_kvstore(self.path), self._known_checksums
        missing = [shard for shard in shards if shard not in known]
        reads = {shard: files.read(checksum_file(shard)) for shard in missing}
        for shard, read in reads.items():
            with self._marking(shard):
                data = read.result().value
                known[shard] = decode_checksums(self.path, self.layout, shard, data)
        return {shard: known[shard] for shard in shards}

    @functools.cached_property
    def _known_checksums(self) -> dict[int, ShardChecksums]:
        """The checksums that were read so far."""
        return {}

    @functools.cached_property
    def _arrays(self) -> dict[str, ts.TensorStore]:
        return open_arrays(self.path, self.layout)

    @functools.cached_property
    def _clips(self) -> list[dict[str, Any]]:
        """The id and the events of every clip."""
        files, clips = open_kvstore(self.path), []
        reads = [files.read(f"clips/{shard}") for shard in self.layout.shards]
        checksums = self._shard_checksums(self.layout.shards)
        for shard, read in enumerate(reads):
            with self._marking(shard):
                data = read.result().value
                known = checksums.get(shard)
                clips += decode_clips(self.path, self.layout, shard, data, known)
        return clips

    @contextlib.contextmanager
    def _marking(self, shard: int) -> Generator[None]:
        """Marks a shard if a file of it turns out to be damaged."""
        try:
            with translate_errors(self.path):
                yield
        except DamagedStoreError:
            mark_damage(self.path, self.layout, [shard])
            raise
