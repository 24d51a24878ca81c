"""AdamW against its definition in double precision."""

import jax.numpy as jnp
import numpy as np
import optax

from unmute_jax.training.optimizer import adamw


def test_equals_the_definition_in_double_precision():
    b1, b2, eps, rate, decay = 0.9, 0.999, 1e-8, 0.1, 0.03
    rng = np.random.default_rng(0)
    want = rng.standard_normal(50)
    mean, square = np.zeros(50), np.zeros(50)
    optimizer = adamw(lambda _: rate, b1=b1, b2=b2, eps=eps, weight_decay=decay)
    params = jnp.asarray(want, jnp.float32)
    state = optimizer.init(params)
    for t in range(1, 30):
        gradient = rng.standard_normal(50).astype(np.float32)
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient.astype(np.float64) ** 2
        step = mean / (1 - b1**t) / (np.sqrt(square / (1 - b2**t)) + eps)
        want = want - rate * (step + decay * want)
        # The rounding of optax's first bias correction alone would be 3e-6.
        np.testing.assert_allclose(params, want, atol=3e-7 * t, rtol=0)
