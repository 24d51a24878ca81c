"""The few largest cosine similarities of each prototype with the tokens of a clip."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from unmute_jax.tokens import NORM_EPS


def top_cosines(
    tokens: Float[Array, "B N D"],
    inverse_norms: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    prototypes: Float[Array, "P D"],
    *,
    k: int,
) -> Float[Array, "B P X"]:
    """The `X = min(k, N)` largest cosines over the real positions, largest first.

    One clip at a time, and its scores are computed again in the backward pass: no
    tensor of all scores. For `k = 1` `max_cosine` is much faster.

    Args:
        tokens: Raw tokens of any floating type.
        inverse_norms: `1 / max(|token|, 1e-12)`, float32.
        mask: True for real positions. Where a clip has fewer than `k` of them, the
            values that are missing are 0.
        prototypes: Float32; need not have unit norm.
        k: How many.
    """
    k = min(k, tokens.shape[1])
    norms = jnp.sqrt(jnp.maximum(jnp.square(prototypes).sum(-1), NORM_EPS**2))

    @jax.checkpoint
    def best(clip: tuple[Array, Array, Array]) -> Array:
        x, scale, real = clip
        scores = jnp.einsum(
            "pd,nd->pn",
            prototypes,
            x.astype(jnp.float32),
            precision=lax.Precision.HIGHEST,
        )
        scores = jnp.where(real[None], scores * scale[None], -jnp.inf)
        values = lax.top_k(scores, k)[0]
        return jnp.where(jnp.arange(k)[None] < real.sum(), values, 0.0)

    return lax.map(best, (tokens, inverse_norms, mask)) / norms[None, :, None]
