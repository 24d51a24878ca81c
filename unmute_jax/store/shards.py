"""Who makes which shard of a token store.

Any number of processes fill a store side by side. None knows of the others, and nobody
claims anything: each goes through what is missing in a random order of its own and,
when the turn of a shard comes, looks whether it is there by now. Two that make the same
one write the same bytes. Of S shards, n processes make about n ln(S / n) twice.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout


class ShardWork:
    """The shards that this process makes; may be asked from many threads."""

    def __init__(
        self, layout: Layout, pending: Sequence[int], is_finished: Callable[[int], bool]
    ):
        """Work on `pending`; `is_finished` tells whether somebody made a shard."""
        self.layout, self.pending = layout, frozenset(pending)
        self._is_finished = is_finished
        self._wanted: dict[int, bool] = {}
        self._lock = threading.Lock()

    def wants(self, shard: int) -> bool:
        """Whether to make a shard; decided once, when this is first asked."""
        with self._lock:
            if shard not in self._wanted:
                missing = shard in self.pending and not self._is_finished(shard)
                self._wanted[shard] = missing
            return self._wanted[shard]

    def wants_any(self, places: range) -> bool:
        """Whether some of these neighbouring clips are in a wanted shard."""
        first, last = places[0] // CLIPS_PER_SHARD, places[-1] // CLIPS_PER_SHARD
        # Asked of all, so that each is decided before its first clip comes.
        return any([self.wants(shard) for shard in range(first, last + 1)])

    @property
    def clips(self) -> int:
        """Number of clips in pending shards, but for those that others have made."""
        with self._lock:
            mine = [s for s in self.pending if self._wanted.get(s, True)]
        return self.layout.clips_in(mine)


def shuffled_blocks(layout: Layout, pending: Sequence[int], size: int) -> list[int]:
    """The blocks of `size` clips that touch the pending shards, in random order.

    Blocks are counted from the first clip of all, so that every pass sees the same
    ones. Those that share a shard, directly or not, stay together and in order: what is
    read twice is less than one block at each end of a pending stretch.
    """
    touched: set[int] = set()
    for shard in pending:
        rows = layout.rows(shard)
        touched |= set(range(rows.start // size, -(-rows.stop // size)))
    together = math.lcm(size, CLIPS_PER_SHARD) // size
    step_blocks: dict[int, list[int]] = {}
    for block in sorted(touched):
        step_blocks.setdefault(block // together, []).append(block)
    order = list(step_blocks.values())
    # Not seeded: no two processes may have the same order.
    random.SystemRandom().shuffle(order)
    return [block for stretch in order for block in stretch]


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
