"""The k largest products of each vector with the scaled tokens of a clip."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def top_products(
    tokens: Float[Array, "B N D"],
    scale: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    vectors: Float[Array, "P D"],
    *,
    k: int,
) -> Float[Array, "B P X"]:
    """The `X = min(k, N)` largest `scale_n * (token_n . vector_p)`, largest first.

    Clips are processed one at a time, and their products are recomputed in the backward
    pass, so that the products of all clips are never in memory together. For `k = 1`,
    `max_product` is much faster.

    Args:
        tokens: Raw tokens of any floating-point type.
        scale: Positive factor of each token, float32.
        mask: True for real positions. If a clip has fewer than `k` of them, the missing
            values are 0.
        vectors: Vectors in float32.
        k: The number of products to return.
    """
    k = min(k, tokens.shape[1])

    @jax.checkpoint
    def of_clip(clip: tuple[Array, Array, Array]) -> Array:
        x, factor, real = clip
        scores = jnp.einsum(
            "pd,nd->pn",
            vectors,
            x.astype(jnp.float32),
            precision=lax.Precision.HIGHEST,
        )
        scores = jnp.where(real[None], scores * factor[None], -jnp.inf)
        values = lax.top_k(scores, k)[0]
        return jnp.where(jnp.arange(k)[None] < real.sum(), values, 0.0)

    return lax.map(of_clip, (tokens, scale, mask))
