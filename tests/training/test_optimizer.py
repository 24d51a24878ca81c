"""AdamW against its definition, learning rates against the reference schedules."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.golden import FOLDER, assert_close, read
from unmute_jax.config import Experiment, Optimizer
from unmute_jax.errors import InputError
from unmute_jax.training.optimizer import adamw, learning_rate

SCHEDULES = read(FOLDER / "probes" / "schedules.npz")


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.0, 0.999), (0.0, 0.0)])
def test_adamw_equals_its_definition_in_double_precision(b1, b2):
    eps, rate, decay = 1e-8, 0.1, 0.03
    rng = np.random.default_rng(0)
    want = rng.standard_normal(50)
    mean, square = np.zeros(50), np.zeros(50)
    optimizer = adamw(lambda _: rate, b1=b1, b2=b2, eps=eps, weight_decay=decay)
    params = jnp.asarray(want, jnp.float32)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for t in range(1, 30):
        gradient = rng.standard_normal(50).astype(np.float32)
        params, state = step(params, state, gradient)
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient.astype(np.float64) ** 2
        update = mean / (1 - b1**t) / (np.sqrt(square / (1 - b2**t)) + eps)
        want = want - rate * (update + decay * want)
        # The rounding of optax's first bias correction alone would be 3e-6.
        np.testing.assert_allclose(params, want, atol=3e-7 * t, rtol=0)


def settings_of(name, total):
    """The optimiser settings of a reference schedule, from its name."""
    if name.startswith("torch_cosine_eta"):
        return Optimizer(floor=float(name.removeprefix("torch_cosine_eta")))
    if name == "birdmae_cosine_warmup":
        return Optimizer(warmup=0.067, floor=1e-6)
    rise, hold = re.fullmatch(r"bat_riserundecay_w(\d+)(?:_c(\d+))?", name).groups()
    return Optimizer(
        warmup=int(rise) / total,
        hold=int(hold or 0) / total,
        floor=1e-6,
        floor_cuts=True,
    )


@pytest.mark.parametrize("name", [name for name in SCHEDULES if SCHEDULES[name].ndim])
def test_schedules_equal_the_reference(name):
    total, peak = int(SCHEDULES["total"]), float(SCHEDULES["lr"])
    settings = settings_of(name, total)
    got = [learning_rate(i, peak, total, settings) for i in range(total + 1)]
    assert_close(got, SCHEDULES[name], name, atol=1e-9, rtol=2e-6)


def test_warmup_and_hold_that_leave_no_step_are_refused():
    with pytest.raises(InputError, match="together below 1"):
        Experiment(optimizer=Optimizer(warmup=0.5, hold=0.5))
