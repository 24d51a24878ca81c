"""The optimiser of the probes: AdamW with a warm-up and cosine schedule.

The schedule and the decoupled weight decay are combined with optax. The Adam step is
our own for one reason: optax computes the bias correction `1 - b2 ** t` in float32,
which at `t = 1` and `b2 = 0.999` is wrong by 6e-5 of its value, and so is the first
update. After 40 steps of the reference trainings, losses with optax's step differ by up
to 8e-7, with this one by 7e-8.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from unmute_jax import config


def adamw(
    schedule: Callable[[Any], Any],
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: Any,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with the same state as `optax.adamw`.

    Args:
        schedule: Function from the step to the learning rate, which may be traced.
        b1: Decay rate of the moving mean of the gradients.
        b2: Decay rate of the moving mean of the squared gradients.
        eps: Constant added to the root of the squared gradients' mean.
        weight_decay: Factor of the decay, which is also multiplied by the learning
            rate and applies to every parameter; may be traced.
    """
    return optax.chain(
        _scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(schedule),
    )


def _scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    def update(
        updates: Any, state: optax.OptState, params: Any = None
    ) -> tuple[Any, optax.OptState]:
        del params
        assert isinstance(state, optax.ScaleByAdamState)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g**2, state.nu, updates)
        count = state.count + 1
        correction_1 = _bias_correction(b1, count)
        correction_2 = _bias_correction(b2, count)
        updates = jax.tree.map(
            lambda m, v: (m / correction_1) / (jnp.sqrt(v / correction_2) + eps), mu, nu
        )
        return updates, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


def _bias_correction(decay: float, count: Any) -> Any:
    """`1 - decay ** count`, exact in float32."""
    if decay == 0:
        return 1.0
    return -jnp.expm1(jnp.asarray(count, jnp.float32) * math.log(decay))


def learning_rate(
    step: Any, peak: Any, total_steps: int, settings: config.Optimizer
) -> Any:
    """The learning rate at a step: linear warm-up, a constant part, half a cosine.

    Section 5 of the paper names cosine annealing only, so by default there is no
    warm-up and no constant part. With them and a floor, this is also the schedule of
    Bird-MAE (`warmup=0.067`, `floor=1e-6`) and of BAT (`floor=1e-6`,
    `floor_cuts=True`).

    Args:
        step: Number of steps made before this one; may be traced.
        peak: Learning rate at its peak; may be traced.
        total_steps: Number of steps after which the cosine has reached its end.
        settings: Optimiser settings: `warmup` and `hold` as shares of all steps,
            `floor` as a learning rate, and `floor_cuts`.
    """
    step = jnp.asarray(step, jnp.float32)
    rise, hold = settings.warmup * total_steps, settings.hold * total_steps
    done = jnp.maximum(step - (rise + hold), 0.0) / max(total_steps - rise - hold, 1e-9)
    wave = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(done, 1.0)))
    if settings.floor_cuts:
        rate = peak * wave
    else:
        rate = settings.floor + (peak - settings.floor) * wave
    if rise:
        rate = jnp.where(step < rise, peak * step / rise, rate)
    return jnp.maximum(rate, settings.floor) if settings.floor_cuts else rate
