import jax
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.training.sharding import Sharding


def mesh(devices=2):
    return distributed.make_mesh(devices)


def rows_per_device(x):
    return [shard.data.shape[0] for shard in x.addressable_shards]


@pytest.mark.parametrize(
    ("devices", "trials", "split"),
    [(1, 8, "clips"), (2, 1, "clips"), (2, 2, "trials"), (2, 5, "trials")],
)
def test_trials_are_split_if_every_device_gets_one(devices, trials, split):
    assert Sharding.for_trials(mesh(devices), trials).split == split


def test_what_is_split_lies_on_one_device_and_the_rest_on_all():
    state, batch = np.arange(4.0), np.arange(6.0)
    for split, of_state, of_batch in (("clips", 4, 3), ("trials", 2, 6)):
        sharding = Sharding(mesh(), split)
        assert rows_per_device(sharding.place_state(state)) == [of_state] * 2
        placed = sharding.place_batch(sharding.local_rows(batch))
        assert rows_per_device(placed) == [of_batch] * 2
        np.testing.assert_array_equal(placed, batch)


def test_the_last_trial_fills_up_the_devices():
    tree = {"a": np.arange(3.0), "b": np.eye(3)}
    padded = Sharding(mesh(), "trials").pad_trials(tree)
    assert padded["a"].tolist() == [0, 1, 2, 2]
    np.testing.assert_array_equal(padded["b"][3], tree["b"][2])
    assert Sharding(mesh(), "clips").pad_trials(tree) is tree


def test_sums_are_over_all_clips_of_a_batch():
    for split in ("clips", "trials"):
        sharding = Sharding(mesh(), split)
        total = distributed.pmapped(
            lambda x, sharding=sharding: sharding.sum_over_devices(x.sum()),
            sharding.mesh,
            in_axes=(sharding.batch_axis,),
            out_axes=None,
        )
        assert float(total(sharding.place_batch(np.arange(6.0)))) == 15
    assert jax.device_count() == 2


def test_batches_are_a_multiple_of_the_devices():
    assert Sharding(mesh()).padded_batch_size(9) == 10
    assert Sharding(mesh(1)).padded_batch_size(9) == 9
