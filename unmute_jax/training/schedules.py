"""The learning rate of every step."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from unmute_jax import config


def learning_rate(
    count: Any, peak: Any, total_steps: int, settings: config.Optimizer
) -> Any:
    """A linear rise, a stretch at the peak, then half a cosine; section 5.

    The paper says cosine annealing and no more, so there is neither rise nor stretch
    by default. With them, and with a floor, it is also the schedule of Bird-MAE
    (`warmup=0.067`, `floor=1e-6`) and that of BAT (`floor=1e-6`, `floor_cuts=True`).

    Args:
        count: Steps that were made before this one; may be traced.
        peak: The rate at the top; may be traced.
        total_steps: After which the rate has come down.
        settings: `warmup` and `hold`, as shares of all steps; `floor`, a rate.
    """
    step = jnp.asarray(count, jnp.float32)
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
