"""Shares the shards of a store among processes and assembles them from batches.

Any number of processes may fill a store side by side without knowing of each other and
without claims. Each goes through the missing shards in a random order of its own, and
looks whether a shard exists by now when its turn comes. Two processes that make the
same shard write the same bytes. Of S shards, n processes make about n ln(S / n) twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from unmute_jax.errors import InputError
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout

Rows = dict[str, np.ndarray]


class Shard(NamedTuple):
    """A whole shard, as `TokenWriter.write` takes it.

    Attributes:
        shard: Index of the shard.
        rows: Rows of the shard's clips, by array.
        clips: The id and the events of each clip.
    """

    shard: int
    rows: Rows
    clips: list[dict[str, Any]]


class ShardAssembler:
    """Collects clips until the shards that this process makes are whole.

    Attributes:
        layout: Layout of the store.
        pending: The shards that were missing at the start, in order.
    """

    def __init__(
        self, layout: Layout, pending: Sequence[int], is_finished: Callable[[int], bool]
    ):
        """Creates an assembler without any clips.

        Args:
            layout: Layout of the store.
            pending: Shards that this process makes unless others are faster.
            is_finished: Whether another process has written a shard by now.
        """
        self.layout, self.pending = layout, sorted(pending)
        self._is_finished = is_finished
        self._decided: set[int] = set()
        self._open: dict[int, Shard] = {}
        # Number of clips that are still missing from each shard that is needed.
        self._missing = {s: layout.count_clips([s]) for s in self.pending}

    @property
    def clips_left(self) -> int:
        """Number of clips that are still missing from shards this process makes."""
        return sum(self._missing.values())

    def needs(self, indices: Int[np.ndarray, "B"] | range) -> bool:
        """Whether any of these clips belongs to a shard that is still to be made.

        Whether a shard is made is decided once, when one of its clips is first asked
        for.
        """
        return bool(self._needed_shards(np.asarray(indices)))

    def add(
        self, indices: Int[np.ndarray, "B"], rows: Rows, clips: list[dict[str, Any]]
    ) -> Iterator[Shard]:
        """Adds clips, none of them twice, and yields the shards that are whole now.

        Args:
            indices: Indices of the clips in their split.
            rows: Arrays of the store, one row per clip.
            clips: The id and the events of each clip.
        """
        shards = indices // CLIPS_PER_SHARD
        for s in self._needed_shards(indices):
            (mine,) = np.nonzero(shards == s)
            shard = self._open.setdefault(s, self._empty_shard(s, rows))
            positions = indices[mine] - self.layout.rows(s).start
            for name, x in rows.items():
                shard.rows[name][positions] = x[mine]
            for position, i in zip(positions, mine, strict=True):
                shard.clips[position] = clips[i]
            self._missing[s] -= len(mine)
            if not self._missing[s]:
                del self._missing[s]
                yield self._open.pop(s)

    def _needed_shards(self, indices: Int[np.ndarray, "B"]) -> list[int]:
        shards = np.unique(indices // CLIPS_PER_SHARD).tolist()
        return [s for s in shards if self._is_needed(s)]

    def _is_needed(self, shard: int) -> bool:
        if shard in self._missing and shard not in self._decided:
            self._decided.add(shard)
            if self._is_finished(shard):
                del self._missing[shard]
        return shard in self._missing

    def _empty_shard(self, index: int, rows: Rows) -> Shard:
        n = self.layout.count_clips([index])
        arrays = {k: np.empty((n, *x.shape[1:]), x.dtype) for k, x in rows.items()}
        return Shard(index, arrays, [{}] * n)


def shuffled_blocks(layout: Layout, pending: Sequence[int], size: int) -> list[int]:
    """Returns the blocks of `size` clips that touch the pending shards, shuffled.

    Blocks are counted from the first clip of the split, so that every pass sees the
    same ones. Blocks that share a shard, directly or through others, stay together and
    in order. Less than one block is read twice at each end of a pending stretch.
    """
    touched: set[int] = set()
    for shard in pending:
        rows = layout.rows(shard)
        touched |= set(range(rows.start // size, -(-rows.stop // size)))
    together = math.lcm(size, CLIPS_PER_SHARD) // size
    stretches: dict[int, list[int]] = {}
    for block in sorted(touched):
        stretches.setdefault(block // together, []).append(block)
    order = list(stretches.values())
    # Not seeded: processes that start together must not have the same order.
    random.SystemRandom().shuffle(order)
    return [block for stretch in order for block in stretch]


def finite_rows(clips: list[dict[str, Any]], arrays: dict[str, np.ndarray]) -> Rows:
    """Returns the rows of a batch's clips, without padding.

    Args:
        clips: The id and the events of each clip.
        arrays: Result of `to_store_arrays`, as host arrays.

    Raises:
        InputError: If the tokens of a clip are not finite; the message names it.
    """
    rows = {name: x[: len(clips)] for name, x in arrays.items()}
    bad = np.flatnonzero(~rows.pop("finite"))
    if len(bad):
        raise InputError(
            f"clip {clips[bad[0]]['id']!r} gives tokens that are not finite: "
            "check its audio and the weights of the encoder"
        )
    return rows
