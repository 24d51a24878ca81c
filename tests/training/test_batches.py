import numpy as np
import pytest

from tests.training.fakes import store
from unmute_jax import distributed
from unmute_jax.training import batches as batches_module
from unmute_jax.training.batches import (
    StepBlock,
    batches,
    epoch_order,
    rows_in_order,
    training_inputs,
    training_rows,
)
from unmute_jax.training.data import Batch, ProbeData
from unmute_jax.training.sharding import Sharding


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    orders = [epoch_order(s, e, 100) for s, e in ((0, 0), (0, 1), (1, 0))]
    for order in orders:
        assert sorted(order) == list(range(100))
    assert len({tuple(o) for o in orders}) == 3
    np.testing.assert_array_equal(orders[1], epoch_order(0, 1, 100))


def test_rows_can_be_taken_up_at_any_step():
    whole = list(training_rows(10, 4, seed=3, start=0, stop=7))
    assert [len(r) for r in whole] == [4, 4, 2, 4, 4, 2, 4]
    for start in range(7):
        rest = list(training_rows(10, 4, seed=3, start=start, stop=7))
        for ours, theirs in zip(rest, whole[start:], strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("input_kind", ["tokens", "summary"])
def test_batches_keep_their_shape_and_weigh_padding_with_zero(input_kind):
    clips = ProbeData([store("validation")], input_kind)
    sharding = Sharding(distributed.make_mesh(2))
    made = list(batches(clips, rows_in_order(21, 9), 9, sharding))
    assert [b.targets.shape for b in made] == [(10, 3)] * 3
    assert [float(b.weight.sum()) for b in made] == [9, 9, 3]
    np.testing.assert_array_equal(made[1].targets[:9], clips.labels[9:18])


@pytest.mark.parametrize("cache", [True, False])
def test_no_batch_is_larger_than_its_clips(cache):
    clips = ProbeData([store("validation")], "tokens", cache=cache)
    sharding = Sharding(distributed.make_mesh(2))
    (_, given), *_ = training_inputs(clips, 10**6, 0, 0, 1, sharding)
    is_real = given.real[:, 0] if cache else given.weight
    assert is_real.shape == (22,)  # Two devices share 21 clips.
    assert float(is_real.sum()) == 21


@pytest.mark.parametrize("split", ["clips", "trials"])
def test_blocks_and_single_batches_have_the_same_clips(split, monkeypatch):
    monkeypatch.setattr(batches_module, "STEPS_PER_BLOCK", 2)
    sharding = Sharding(distributed.make_mesh(2), split)

    def inputs(**options):
        clips = ProbeData([store("validation")], "tokens", **options)
        # 21 clips are three steps of 9; from within one epoch into another.
        return list(training_inputs(clips, 9, 0, 1, 7, sharding))

    blocks, single = inputs(), inputs(cache=False)
    assert [step for step, _ in blocks] == [3, 5, 6, 7]
    assert [step for step, _ in single] == [2, 3, 4, 5, 6, 7]
    assert all(isinstance(block, StepBlock) for _, block in blocks)
    assert all(isinstance(batch, Batch) for _, batch in single)
    targets = iter(batch for _, batch in single)
    for _, block in blocks:
        for i in range(int(block.steps)):
            batch, rows = next(targets), np.asarray(block.rows)[:, i]
            clips = np.asarray(block.clips.targets)[rows]
            np.testing.assert_array_equal(clips, batch.targets)
            np.testing.assert_array_equal(np.asarray(block.real)[:, i], batch.weight)
