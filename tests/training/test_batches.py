import numpy as np
import pytest

from tests.training.fakes import store
from unmute_jax import distributed
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.training.batches import (
    ProbeData,
    batches,
    epoch_order,
    rows_in_order,
    training_rows,
    unpack,
)


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
    mesh = distributed.make_mesh(2)
    made = list(batches(clips, rows_in_order(21, 9), 9, mesh))
    assert [b.targets.shape for b in made] == [(10, 3)] * 3
    assert [float(b.weight.sum()) for b in made] == [9, 9, 3]
    np.testing.assert_array_equal(made[1].targets[:9], clips.labels[9:18])


def test_int8_travels_as_it_is_and_comes_out_as_what_it_means():
    clips = ProbeData([store("validation", dtype="int8")], "tokens")
    (batch,) = batches(clips, iter([np.arange(8)]), 8, distributed.make_mesh(2))
    assert batch.packed.patches.dtype == np.int8
    made = unpack(batch.packed)
    wanted = clips.read(np.arange(8)).floats()
    np.testing.assert_array_equal(made.patches, wanted.patches)
    assert made.scales is None


def test_splits_are_joined_in_order_and_read_the_same_from_disk(monkeypatch):
    stores = [store("train"), store("validation")]
    held = ProbeData(stores, "tokens")
    monkeypatch.setattr(distributed, "host_memory", lambda: 0)
    streamed = ProbeData(stores, "tokens")
    rows = np.asarray([60, 3, 49, 50, 3])
    for name in ("patches", "inverse_norms", "cls", "mask"):
        ours = getattr(streamed.read(rows), name)
        np.testing.assert_array_equal(ours, getattr(held.read(rows), name))
    np.testing.assert_array_equal(held.read(rows).cls[0], stores[1].load().cls[10])
    assert held.ids[60] == stores[1].ids[10]


def test_standardised_inputs_have_mean_zero_and_sd_one_over_real_tokens():
    train = store("train")
    fitted = FeatureNormaliser.fit([train])
    vectors = ProbeData([train], "summary", fitted).read(np.arange(50))
    for name in ("cls", "mean", "max", "std"):
        x = getattr(vectors, name)
        np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    tokens = ProbeData([train], "tokens", fitted).read(np.arange(50))
    real = np.asarray(tokens.patches, np.float32)[np.asarray(tokens.mask)]
    real = real.reshape(-1, real.shape[-1])
    # The patches are stored in bfloat16, their statistics were taken before.
    np.testing.assert_allclose(real.mean(0), 0, atol=0.01)
    np.testing.assert_allclose(real.std(0), 1, atol=0.01)
    norms = np.linalg.norm(np.asarray(tokens.patches, np.float32), axis=-1)
    np.testing.assert_allclose(tokens.inverse_norms * norms, 1, rtol=1e-5)


def test_standardising_uses_the_training_split_for_every_split():
    fitted = FeatureNormaliser.fit([store("train")])
    theirs = ProbeData([store("test")], "summary", fitted).read(np.arange(22)).mean
    raw = store("test").summary().mean
    wanted = (raw - fitted.summary_mean.mean) / fitted.summary_sd.mean
    np.testing.assert_allclose(theirs, wanted, rtol=1e-6)
