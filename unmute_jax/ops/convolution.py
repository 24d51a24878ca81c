"""A convolution over the token map, computed as one matrix product and shifted sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.ops.argmax_search import chunk_bytes


def convolve(
    tokens: Float[Array, "B T F D"], kernel: Float[Array, "I J D X"]
) -> Float[Array, "B T F X"]:
    """`sum_ij tokens[t + i - (I-1)//2, f + j - (J-1)//2] @ kernel[i, j]`.

    The map is padded with zeros ("same" padding). One matrix product multiplies every
    token by the whole kernel, and the results are then shifted to the neighbouring
    positions and added. Under `vmap` over K kernels that share the tokens, the product
    has K times as many columns. The shifted arrays have X channels per kernel entry; a
    window of tokens would have `I * J * D` entries.

    Args:
        tokens: Token maps in float32.
        kernel: Convolution kernel in float32, of I time steps and J frequency patches.
    """
    b, t, f, _ = tokens.shape
    i, j, d, x = kernel.shape
    columns = jnp.moveaxis(kernel, 2, 0).reshape(d, i * j * x)

    # The product is linear in the kernel, so the backward pass needs only the tokens.
    @jax.checkpoint
    def of_clip(clip: Array) -> Array:
        products = jnp.matmul(clip, columns, precision=jax.lax.Precision.HIGHEST)
        return _shifted_sum(products.reshape(t, f, i, j, x))

    chunk = max(1, min(b, chunk_bytes() // (4 * t * f * i * j * x)))
    return jax.lax.map(of_clip, tokens, batch_size=chunk)


def _shifted_sum(products: Array) -> Array:
    """`out[t, f] = sum_ij products[t + i - (I-1)//2, f + j - (J-1)//2, i, j]`."""
    t, f, height, width, _ = products.shape
    top, left = (height - 1) // 2, (width - 1) // 2
    padding = ((top, height - 1 - top), (left, width - 1 - left), *[(0, 0)] * 3)
    padded = jnp.pad(products, padding)
    shifted = (
        padded[i : i + t, j : j + f, i, j] for i in range(height) for j in range(width)
    )
    return sum(shifted, jnp.zeros_like(products[:, :, 0, 0]))
