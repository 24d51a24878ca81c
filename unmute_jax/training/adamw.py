"""AdamW whose bias correction is exact in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def adamw(
    schedule: Callable[[Any], Any],
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: Any,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) with the state of `optax.adamw`.

    Optax rounds `1 - b2 ** t` to float32, which at t = 1 and b2 = 0.999 is wrong by
    6e-5 of its value, and so is the first update. After 40 steps of the reference
    trainings its losses differ by up to 8e-7, those of this one by 7e-8.

    Args:
        schedule: Step -> learning rate; may be traced.
        b1: Decay of the mean of the gradients.
        b2: Decay of the mean of their squares.
        eps: Added to the root of the latter.
        weight_decay: Times the learning rate, taken off every parameter; may be traced.
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
        share_1, share_2 = _share(b1, count), _share(b2, count)
        updates = jax.tree.map(
            lambda m, v: (m / share_1) / (jnp.sqrt(v / share_2) + eps), mu, nu
        )
        return updates, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(optax.scale_by_adam().init, update)


def _share(decay: float, count: Any) -> Any:
    """`1 - decay ** count`: how much of a moving mean the gradients so far make up."""
    return -jnp.expm1(jnp.asarray(count, jnp.float32) * math.log(decay))
