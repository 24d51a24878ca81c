"""Token maps kept on disk: made once, read at random, checked on every read.

`embedding.embed` fills a store; `token_format` says how it lies on disk, `token_key`
what it is found by.
"""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorstore as ts
from jaxtyping import Bool, Float, Int, UInt8

from unmute_jax.errors import InputError
from unmute_jax.store.clip_reads import read_clips
from unmute_jax.store.files import (
    DamagedStore,
    Place,
    clear_errors,
    folder,
    place_of,
    unsealed,
)
from unmute_jax.store.key import differences, plain
from unmute_jax.store.layout import (
    CHECKS,
    CLIPS_PER_SHARD,
    LAYERS,
    SUMMARY,
    TOKENS,
    Layout,
    open_arrays,
    read_manifest,
    unsound_shards,
)
from unmute_jax.store.maintenance import mark_damage
from unmute_jax.tokens import Summary, Tokens


@dataclass(frozen=True, eq=False)
class TokenStore:
    """The finished tokens of one split by one encoder. Made by `open` or by `embed`.

    Attributes:
        path: The folder, or the URL of one.
        manifest: What `manifest.json` says.
    """

    path: Place
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | pathlib.Path) -> TokenStore:
        """The store at `path`.

        Raises:
            InputError: There is none, it is unfinished or of another format.
            DamagedStore: It is known to be damaged.
        """
        path = place_of(path)
        manifest = read_manifest(path)
        if manifest is None:
            raise InputError(f"there is no token store at {path}")
        layout = Layout.of(manifest)
        unsound = unsound_shards(path, layout)
        if not manifest["complete"]:
            done = layout.clips - layout.clips_in(unsound)
            raise InputError(
                f"token store {path} is unfinished ({done} of {layout.clips} clips): "
                "embed again, it goes on where it stopped"
            )
        if unsound:
            raise DamagedStore(path, next(iter(unsound.values())))
        store = cls(path, manifest)
        _ = store._arrays  # What describes them may be damaged too.
        return store

    @functools.cached_property
    def layout(self) -> Layout:
        """Sizes of the store."""
        return Layout.of(self.manifest)

    @property
    def n(self) -> int:
        """Number of clips."""
        return self.layout.clips

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T, F, D): time steps, frequency bands, features."""
        return self.layout.grid

    @property
    def dtype(self) -> np.dtype:
        """The type of the stored patches."""
        return ts.dtype(self.layout.dtype).numpy_dtype

    def nbytes(self, *, layers: bool = False) -> int:
        """Bytes of memory that `load` takes."""
        return self.layout.token_bytes(layers=layers)

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

    def pooled(self, rows: slice) -> dict[str, Float[np.ndarray, "B D"]]:
        """`mean` and `cls` of some clips, as of `summary`, and nothing else."""
        return self._fetch("mean", "cls", rows=rows)

    def load(self, *, layers: bool = False) -> Tokens:
        """All tokens as arrays in memory; `nbytes` says beforehand how much."""
        names = self.layout.names_of((*TOKENS, *(LAYERS if layers else ())))
        return Tokens(**self._fetch(*names))

    def read(
        self, indices: Int[np.ndarray, "B"] | Sequence[int], *, layers: bool = False
    ) -> Tokens:
        """The tokens of some clips, in the given order; patches in their stored type.

        Where that is int8, `Tokens.floats` gives what they mean.

        `layers` asks for those as well, where the store has them. May be called from
        many threads. What is small beside the patches is held in memory from the first
        call on.

        Raises:
            IndexError: An index is not in `[0, n)`.
            DamagedStore: Bytes were altered; the next `embed` makes the shard again.
        """
        rows = np.asarray(indices, np.int64)
        if rows.size and not (0 <= rows.min() and rows.max() < self.n):
            raise IndexError(f"clips {rows.min()}..{rows.max()} of {self.n}")
        held = {name: x[rows] for name, x in self._held.items()}
        wanted = self.layout.names_of(("patches", *(LAYERS if layers else ())))
        direct = {name: self._read_directly(name, rows) for name in wanted}
        found = {name: x for name, x in direct.items() if x is not None}
        rest = [name for name in wanted if name not in found]
        return Tokens(**found, **self._fetch(*rest, rows=rows), **held)

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
        names = self.layout.names_of(TOKENS)
        return self._fetch(*(name for name in names if name != "patches"))

    def _read_directly(self, name: str, rows: np.ndarray) -> np.ndarray | None:
        """Clips of a large array without tensorstore, where that can be."""
        path = self.path
        if name not in CHECKS or not len(rows) or isinstance(path, str):
            return None
        if sys.byteorder != "little":
            return None
        return read_clips(path, self.layout, name, rows, self._checks[name][rows])

    @functools.cached_property
    def _checks(self) -> dict[str, np.ndarray]:
        names = {name: c for name, c in CHECKS.items() if c in self.layout.arrays}
        found = self._fetch(*names.values())
        return {name: found[check] for name, check in names.items()}

    def _fetch(
        self, *names: str, rows: slice | np.ndarray = slice(None)
    ) -> dict[str, np.ndarray]:
        """Rows of some arrays, all of them by default, read at once."""
        try:
            # The reads of a batch are sent when it closes, joined where they touch.
            with clear_errors(self.path), ts.Batch() as batch:
                input_kind = {n: self._arrays[n][rows].read(batch=batch) for n in names}
            with clear_errors(self.path):
                return {name: future.result() for name, future in input_kind.items()}
        except DamagedStore:
            shards = np.unique(np.arange(self.n)[rows] // CLIPS_PER_SHARD)
            mark_damage(self.path, self.layout, shards.tolist())
            raise

    @functools.cached_property
    def _arrays(self) -> dict[str, ts.TensorStore]:
        return open_arrays(self.path, self.layout)

    @functools.cached_property
    def _clips(self) -> list[dict[str, Any]]:
        files, clips = folder(self.path), []
        input_kind = [files.read(f"clips/{shard}") for shard in self.layout.shards]
        for shard, future in enumerate(input_kind):
            try:
                with clear_errors(self.path):
                    clips += unsealed(future.result().value)["clips"]
            except DamagedStore:
                mark_damage(self.path, self.layout, [shard])
                raise
        return clips
