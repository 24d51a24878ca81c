"""Which shards a process makes, and in which order."""

import itertools

import numpy as np
import pytest

from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.store.shards import ShardWork, shuffled_blocks

LAYOUT = Layout(clips=1000, grid=(1, 1, 1), classes=1, dtype="float32")


@pytest.mark.parametrize("size", [1, 2, 7, 32, 64, 100, 128, 2000])
def test_blocks_cover_what_is_pending_and_little_else(size):
    pending = [0, 3, 4, 15]
    starts = [b * size for b in shuffled_blocks(LAYOUT, pending, size)]
    assert len(set(starts)) == len(starts)
    clips = {i for s in starts for i in range(s, min(s + size, 1000))}
    wanted = {i for shard in pending for i in np.r_[LAYOUT.rows(shard)].tolist()}
    assert wanted <= clips
    assert len(clips - wanted) < 2 * size * 3  # Three stretches, two ends each.


@pytest.mark.parametrize("size", [7, 32, 100])
def test_blocks_of_a_shard_stay_together_and_in_order(size):
    starts = [b * size for b in shuffled_blocks(LAYOUT, list(LAYOUT.shards), size)]
    together = size * CLIPS_PER_SHARD // np.gcd(size, CLIPS_PER_SHARD)
    units = [s // together for s in starts]
    assert len(set(units)) == 1 + sum(a != b for a, b in itertools.pairwise(units))
    for unit in set(units):
        mine = [s for s in starts if s // together == unit]
        assert mine == sorted(mine)


def test_the_order_is_another_each_time():
    pending = list(LAYOUT.shards)
    orders = {tuple(shuffled_blocks(LAYOUT, pending, 64)) for _ in range(5)}
    assert len(orders) > 1


def test_a_shard_is_wanted_or_not_once_and_for_all():
    there = set()
    work = ShardWork(LAYOUT, [1, 2, 3], there.__contains__)
    assert work.wants(1)
    assert not work.wants(0)
    there |= {1, 2}
    assert [work.wants(s) for s in (1, 2, 3)] == [True, False, True]
    there |= {3}
    there -= {2}
    assert [work.wants(s) for s in (1, 2, 3)] == [True, False, True]
    assert work.clips == 2 * CLIPS_PER_SHARD
    assert work.wants_any(range(3 * 64 - 1, 3 * 64 + 1))
    assert not work.wants_any(range(2 * 64, 3 * 64))
