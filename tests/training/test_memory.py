import numpy as np
import pytest

from tests.training.fakes import store
from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError
from unmute_jax.training import memory
from unmute_jax.training.data import ProbeData


@pytest.fixture
def free(monkeypatch):
    """Sets the memory that is free."""

    def set_free(value):
        monkeypatch.setattr(distributed, "free_memory", lambda: value)
        monkeypatch.setattr(distributed, "host_memory", lambda: value)

    return set_free


def test_virtual_devices_share_the_memory_of_the_host(free):
    free(1000)
    assert memory.trials_that_fit(100, distributed.make_mesh(1)) == 6
    assert memory.trials_that_fit(100, distributed.make_mesh(2)) == 2 * 3
    assert memory.clips_fit_on_devices(250, distributed.make_mesh(2))
    assert not memory.clips_fit_on_devices(251, distributed.make_mesh(2))


def test_there_is_always_room_for_a_trial_per_device(free):
    free(0)
    assert memory.trials_that_fit(100, distributed.make_mesh(2)) == 2


def test_clips_that_are_in_memory_serve_a_single_cpu_device(free):
    free(0)
    assert memory.clips_fit_on_devices(10**9, distributed.make_mesh(1))
    assert not memory.clips_fit_on_host(1)


def test_a_batch_that_does_not_fit_is_one_line(free):
    free(2000)
    mesh, one = distributed.make_mesh(2), {"a": np.zeros(20, np.float32)}
    memory.check_batch(25, one, mesh)
    with pytest.raises(InputError) as caught:
        memory.check_batch(26, one, mesh)
    assert str(caught.value) == (
        "a batch of 26 clips takes 2.1 kB, and 2.0 kB of memory are free: lower "
        "config.batch_size"
    )


def test_a_probe_that_does_not_fit_is_one_line(free):
    free(12 * 10 * 100)
    memory.check_trials("mlp", 100, Experiment())
    with pytest.raises(InputError) as caught:
        memory.check_trials("mlp", 101, Experiment())
    assert str(caught.value) == (
        "probe 'mlp': 10 trials of 101 parameters take 12.1 kB, and 12.0 kB of memory "
        "are free: lower config.probe_options or the number of "
        "config.optimizer.learning_rates"
    )
    with pytest.raises(InputError, match=r"lower config\.probe_options or config\.see"):
        memory.check_trials("mlp", 100, Experiment(seeds=11))


def test_every_process_decides_as_the_one_with_the_least_memory(free, monkeypatch):
    free(1000)
    mesh = distributed.make_mesh(2)
    asked = []

    def global_min(value):
        asked.append(int(value))
        return min(int(value), 0 if len(asked) < 3 else 1)

    monkeypatch.setattr(distributed, "global_min", global_min)
    assert not memory.clips_fit_on_devices(1, mesh)
    # A process that does not have the clips takes part in the decision as well.
    assert not memory.clips_fit_on_devices(None, mesh)
    assert memory.trials_that_fit(100, mesh) == 2
    assert asked == [1, 0, 3]


def test_clips_are_placed_once_and_kept_whole_on_every_device():
    clips, mesh = ProbeData([store("validation")], "summary"), distributed.make_mesh(2)
    batch = clips.on_devices(mesh)
    assert clips.on_devices(mesh) is batch
    for shard in batch.targets.addressable_shards:
        np.testing.assert_array_equal(shard.data, clips.labels)
