"""From the clips of batches, in whatever order, to whole shards of a token store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from unmute_jax.shard_work import ShardWork
from unmute_jax.token_format import CLIPS_PER_SHARD

Rows = dict[str, np.ndarray]


class Shard(NamedTuple):
    """What `TokenWriter.write` takes."""

    shard: int
    rows: Rows
    clips: list[dict[str, Any]]


class Assembly:
    """Collects clips until a shard has all of them."""

    def __init__(self, work: ShardWork):
        """Waits for the shards that `work` wants."""
        self._work, self._layout = work, work.layout
        self._missing = {s: work.layout.clips_in([s]) for s in work.pending}
        self._open: dict[int, Shard] = {}

    def wants(self, places: Int[np.ndarray, "B"]) -> bool:
        """Whether any of these clips is missing."""
        return bool(self._wanted(_shards(places)))

    def add(
        self, places: Int[np.ndarray, "B"], rows: Rows, clips: list[dict[str, Any]]
    ) -> Iterator[Shard]:
        """Takes clips, no clip twice; gives the shards that are whole now.

        Args:
            places: Of the clips, in the split.
            rows: Per array of the store, one row per clip.
            clips: Per clip: its id and its events.
        """
        shards = _shards(places)
        for s in self._wanted(shards):
            (mine,) = np.nonzero(shards == s)
            shard = self._open.setdefault(s, self._empty(s, rows))
            there = places[mine] - self._layout.rows(s).start
            for name, x in rows.items():
                shard.rows[name][there] = x[mine]
            for place, i in zip(there, mine, strict=True):
                shard.clips[place] = clips[i]
            self._missing[s] -= len(mine)
            if not self._missing[s]:
                del self._missing[s]
                yield self._open.pop(s)

    def _wanted(self, shards: Int[np.ndarray, "B"]) -> list[int]:
        found = self._missing.keys() & set(shards.tolist())
        return [s for s in sorted(found) if self._work.wants(s)]

    def _empty(self, index: int, rows: Rows) -> Shard:
        n = self._layout.clips_in([index])
        arrays = {k: np.empty((n, *x.shape[1:]), x.dtype) for k, x in rows.items()}
        return Shard(index, arrays, [{}] * n)


def _shards(places: Int[np.ndarray, "B"]) -> Int[np.ndarray, "B"]:
    """The shards that clips belong to."""
    return places // CLIPS_PER_SHARD
