import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.fakes import settings, store
from unmute_jax import distributed, probes
from unmute_jax.config import Optimizer
from unmute_jax.training import losses
from unmute_jax.training.batches import StepBlock, training_inputs
from unmute_jax.training.data import ProbeData
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import (
    Trial,
    init_state,
    make_keep_better,
    make_train_steps,
    optimizer_for,
)

OPTIMIZER = Optimizer()
LOSS = losses.make_loss("asymmetric")


def stack(rates=(0.001, 0.01, 0.1), seed=0):
    return tuple(Trial(learning_rate=r, weight_decay=1e-3, seed=seed) for r in rates)


@functools.cache
def clips(input_kind="tokens", cache=False):
    return ProbeData([store("train")], input_kind, cache=cache)


def train(
    chosen,
    devices=1,
    steps=20,
    batch_size=16,
    name="protobin",
    probe=None,
    split="clips",
    blocks=False,
):
    """The state after `steps` steps over ragged epochs, one by one or in blocks."""
    probe = probe or probes.make_probe(name, num_classes=3)
    data = clips(probe.input_kind, cache=blocks)
    sharding = Sharding(distributed.make_mesh(devices), split)
    example = jax.tree.map(jnp.asarray, data.read(np.arange(1)))
    state = init_state(probe, example, chosen, OPTIMIZER)
    state = sharding.place_state(state)
    train_steps = make_train_steps(probe, LOSS, steps, OPTIMIZER, sharding)
    for _, inputs in training_inputs(data, batch_size, 0, 0, steps, sharding):
        assert isinstance(inputs, StepBlock) == (blocks or data.is_cached)
        state = jax.block_until_ready(train_steps(state, inputs))
    return jax.device_get(state)


def relative(a, b):
    """Largest difference of any leaf, relative to its largest value."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(np.abs(x - y).max() / max(np.abs(y).max(), 1e-12) for x, y in pairs)


@pytest.mark.parametrize("name", ["linear", "protobin"])
def test_a_stacked_trial_equals_the_same_trial_alone(name):
    together = train(stack(), name=name)
    for k, trial in enumerate(stack()):
        alone = train((trial,), name=name)
        mine = jax.tree.map(lambda x, k=k: x[k : k + 1], together.params)
        assert relative(mine, alone.params) < 1e-5
        np.testing.assert_allclose(together.loss_sum[k], alone.loss_sum[0], rtol=1e-5)


def test_a_block_of_steps_is_the_same_steps():
    one_by_one = train(stack(), batch_size=9)
    together = train(stack(), batch_size=9, blocks=True)
    assert relative(together, one_by_one) < 1e-5


@pytest.mark.parametrize("split", ["clips", "trials"])
def test_devices_share_the_clips_or_the_trials(split):
    chosen = stack((0.001, 0.003, 0.01, 0.03))
    one = train(chosen, batch_size=9)
    two = train(chosen, 2, batch_size=9, split=split, blocks=True)
    assert relative(two, one) < 1e-5


@pytest.mark.parametrize(
    ("name", "batch_size"), [("linear", 9), ("protobin", 16), ("protobin", 9)]
)
def test_the_number_of_devices_changes_nothing(name, batch_size):
    # 50 clips: the last batch of an epoch is ragged, and 9 is odd on two devices.
    one = train(stack(), 1, batch_size=batch_size, name=name)
    two = train(stack(), 2, batch_size=batch_size, name=name)
    assert relative(two.params, one.params) < 1e-5
    np.testing.assert_allclose(two.loss_sum, one.loss_sum, rtol=1e-5)
    clips_seen = (
        20 // -(-50 // batch_size) * 50 + (20 % -(-50 // batch_size)) * batch_size
    )
    assert one.count.tolist() == two.count.tolist() == [clips_seen] * 3


def test_the_penalty_of_a_probe_takes_part():
    # Orthogonality pulls the prototypes of a class apart; data alone does so less.
    probe = probes.make_probe("proto", num_classes=3, penalty_weight=1e3)

    def overlap(weight):
        changed = probe.clone(penalty_weight=weight)
        state = train(stack((0.01,)), probe=changed, steps=30)
        return float(
            probe.penalty(jax.tree.map(lambda x: jnp.asarray(x[0]), state.params))
        )

    assert overlap(1e3) < 0.9 * overlap(0.0)


def test_pmapped_gives_what_pmap_gives(two_devices):
    mesh = two_devices
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    w = np.asarray([1.0, -2.0], np.float32)

    def step(w, x):
        loss, grad = jax.value_and_grad(lambda w: jnp.square(x @ w).sum())(w)
        return jax.lax.psum((loss, grad), distributed.BATCH), x * 2

    ours = distributed.pmapped(step, mesh, in_axes=(None, 0), out_axes=(None, 0))
    (loss, grad), doubled = ours(w, distributed.shard(x, mesh))
    theirs = jax.pmap(step, distributed.BATCH, in_axes=(None, 0), out_axes=(None, 0))
    (loss2, grad2), doubled2 = theirs(w, x.reshape(2, 3, 2))
    np.testing.assert_allclose(loss, loss2, rtol=1e-6)
    np.testing.assert_allclose(grad, grad2, rtol=1e-6)
    np.testing.assert_array_equal(doubled, np.reshape(doubled2, (6, 2)))


def test_replicated_state_can_be_donated_without_harm():
    mesh = distributed.make_mesh(1)
    mine = jnp.ones(3)
    copy = distributed.replicate({"x": mine}, mesh)
    add = distributed.pmapped(
        lambda s: {"x": s["x"] + 1}, mesh, in_axes=(None,), out_axes=None, donate=(0,)
    )
    np.testing.assert_array_equal(add(copy)["x"], 2)
    np.testing.assert_array_equal(mine, 1)


def test_a_run_compiles_one_step(monkeypatch):
    traced, loss = 0, LOSS

    def counting(logits, targets):
        nonlocal traced
        traced += 1
        return loss(logits, targets)

    monkeypatch.setitem(globals(), "LOSS", counting)
    train(stack(), 2)
    assert traced == 1


def test_the_first_values_depend_on_the_seed_alone():
    probe = probes.make_probe("protobin", num_classes=3)
    example = jax.tree.map(jnp.asarray, clips().read(np.arange(1)))
    make = functools.partial(init_state, probe, example, settings=settings().optimizer)
    wide = make(trials=(*stack((0.1,), 5), *stack((0.1,), 6))).params
    narrow = make(trials=stack((0.3,), 6)).params
    np.testing.assert_array_equal(wide["prototypes"][1:], narrow["prototypes"])
    assert not np.array_equal(wide["prototypes"][0], wide["prototypes"][1])


def test_the_rate_falls_along_half_a_cosine():
    # Plain SGD is what is left of AdamW when the gradient has a constant sign.
    optimizer = optimizer_for(0.1, 0.0, 10, OPTIMIZER)
    params = {"w": jnp.zeros(())}
    state, moved = optimizer.init(params), []
    for _ in range(10):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update({"w": jnp.ones(())}, state, params)
        moved.append(-float(updates["w"]))
    wanted = 0.05 * (1 + np.cos(np.pi * np.arange(10) / 10))
    np.testing.assert_allclose(moved, wanted, rtol=1e-4)


def test_a_trial_that_diverges_leaves_the_others_alone():
    calm = train(stack((0.01,)))
    both = train((*stack((0.01,)), *stack((1e30,))))
    assert relative(jax.tree.map(lambda x: x[:1], both.params), calm.params) < 1e-5


@pytest.mark.parametrize(("devices", "split"), [(1, "clips"), (2, "trials")])
def test_better_parameters_are_kept_trial_by_trial(devices, split):
    sharding = Sharding(distributed.make_mesh(devices), split)
    best = {"a": np.zeros((4, 2)), "b": np.zeros(4)}
    new = {"a": np.ones((4, 2)), "b": np.ones(4)}
    improved = np.asarray([True, False, False, True])
    found = make_keep_better(sharding)(
        *map(sharding.place_state, (best, new, improved))
    )
    np.testing.assert_array_equal(found["b"], improved)
    np.testing.assert_array_equal(found["a"], np.stack([improved] * 2, 1))
