"""The scaling benchmark counts what a step costs, on the two devices of the tests."""

import jax
import jaxtyping
import numpy as np
import pytest

from experiments.benchmarks import synthetic_store
from experiments.benchmarks.scaling_process import Training, Work
from unmute_jax import distributed

TRIALS = 2


@pytest.fixture(autouse=True)
def _programs_tell_of_their_arguments():
    """By trees whose leaves are no arrays, which type checks would refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("scaling") / "tokens"
    synthetic_store.write_store(path, 24, "bfloat16", (4, 2, 24))
    return path


def training(store, mode, *, devices=2, batch_size=8, streamed=False):
    work = Work(
        store=str(store), trials=TRIALS, batch_size=batch_size, streamed=streamed
    )
    return Training("linear", mode, work, distributed.make_mesh(devices))


def test_gradients_are_moved_however_large_the_batch(store):
    small, large = (training(store, "batch", batch_size=b).facts() for b in (8, 16))
    assert small["parameters"] == 24 * 10 + 10
    # Gradients and losses of every trial, and the number of clips.
    wanted = 4 * (TRIALS * (small["parameters"] + 1) + 1)
    assert small["moved_bytes"] == large["moved_bytes"] == wanted
    assert 2 * small["multiply_adds"] == large["multiply_adds"]
    assert 2 * small["token_bytes"] == large["token_bytes"]


def test_each_device_has_its_trials_or_its_clips(store):
    alone = training(store, "batch", devices=1).facts()
    trials, batch = (training(store, mode).facts() for mode in ("trials", "batch"))
    assert (alone["moved_bytes"], trials["moved_bytes"]) == (0, 0)
    for facts in (trials, batch):
        assert 2 * facts["multiply_adds"] == alone["multiply_adds"]
        assert facts["held_bytes"] == alone["held_bytes"] > 24 * 4 * 2 * 24 * 2
    assert trials["token_bytes"] == 2 * batch["token_bytes"] == alone["token_bytes"]
    assert batch["state_bytes"] == alone["state_bytes"]
    assert trials["state_bytes"] < 0.6 * alone["state_bytes"]


@pytest.mark.parametrize("mode", ["trials", "batch"])
def test_streamed_tokens_train_the_same(store, mode):
    held, streamed = (training(store, mode, streamed=s) for s in (False, True))
    assert streamed.facts()["held_bytes"] == 0
    assert streamed.facts()["moved_bytes"] == held.facts()["moved_bytes"]
    assert min(held.epoch(), streamed.epoch()) > 0
    ours, theirs = (jax.tree.leaves(t.state) for t in (held, streamed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
