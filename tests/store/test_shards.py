"""Processes share the shards, and a shard is assembled from batches of its clips."""

import itertools

import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.store.shards import ShardAssembler, finite_rows, shuffled_blocks

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


def test_every_pass_has_another_order():
    pending = list(LAYOUT.shards)
    orders = {tuple(shuffled_blocks(LAYOUT, pending, 64)) for _ in range(5)}
    assert len(orders) > 1


def no_records(n):
    return [{"id": str(i), "events": ()} for i in range(n)]


def test_whether_a_shard_is_made_is_decided_once_when_its_turn_comes():
    finished = set()
    assembler = ShardAssembler(LAYOUT, [3, 1, 2], finished.__contains__)
    assert assembler.pending == [1, 2, 3]
    assert assembler.clips_left == 3 * CLIPS_PER_SHARD
    assert assembler.needs(range(64, 128))
    assert not assembler.needs(range(64))
    finished |= {1, 2}  # Another process makes both.
    assert assembler.needs(np.asarray([127]))
    assert not assembler.needs(np.asarray([128, 191]))
    finished -= {2}
    assert not assembler.needs(np.asarray([128]))
    assert assembler.needs(range(2 * 64, 4 * 64))
    assert assembler.clips_left == 2 * CLIPS_PER_SHARD


def test_shards_leave_when_they_are_whole_and_clips_are_in_order():
    assembler = ShardAssembler(LAYOUT, [1, 15], lambda shard: False)
    indices = np.random.default_rng(0).permutation(np.r_[60:140, 950:1000])
    shards = []
    for start in range(0, len(indices), 9):
        batch = indices[start : start + 9]
        rows = {"x": batch[:, None] * 2}
        records = [{"id": str(i), "events": ()} for i in batch]
        shards += assembler.add(batch, rows, records)
    assert sorted(s.shard for s in shards) == [1, 15]
    shard = next(s for s in shards if s.shard == 1)
    np.testing.assert_array_equal(shard.rows["x"][:, 0], 2 * np.r_[64:128])
    assert [clip["id"] for clip in shard.clips] == [str(i) for i in range(64, 128)]
    assert assembler.clips_left == 0


def test_padding_is_cut_off_and_values_that_are_not_finite_name_the_clip():
    arrays = {"x": np.arange(4), "finite": np.asarray([True, True, False, False])}
    rows = finite_rows(no_records(2), arrays)
    np.testing.assert_array_equal(rows.pop("x"), [0, 1])
    assert not rows
    with pytest.raises(InputError, match="clip '2' gives tokens that are not finite"):
        finite_rows(no_records(3), arrays)
