"""A convolution over the map of tokens as one product and a few shifted sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.ops.argmax_search import chunk_bytes


def convolve(
    tokens: Float[Array, "B T F D"], kernel: Float[Array, "I J D X"]
) -> Float[Array, "B T F X"]:
    """`sum_ij tokens[t + i - (I-1)//2, f + j - (J-1)//2] @ kernel[i, j]`.

    Outside of the map there are zeros ("same" padding). Every token meets the whole
    kernel in one matrix product, and what it gives to its neighbours is moved there:
    under `vmap` over kernels that share the tokens, K kernels are K times as many
    columns. What is moved has X channels where a window of tokens has `I * J * D`.

    Args:
        tokens: Float32.
        kernel: Float32.
    """
    b, t, f, _ = tokens.shape
    i, j, d, x = kernel.shape
    columns = jnp.moveaxis(kernel, 2, 0).reshape(d, i * j * x)

    # The product is linear in the kernel: of a chunk, the way back needs the tokens.
    @jax.checkpoint
    def one(clip: Array) -> Array:
        products = jnp.matmul(clip, columns, precision=jax.lax.Precision.HIGHEST)
        return _shifted_sum(products.reshape(t, f, i, j, x))

    chunk = max(1, min(b, chunk_bytes() // (4 * t * f * i * j * x)))
    return jax.lax.map(one, tokens, batch_size=chunk)


def _shifted_sum(products: Array) -> Array:
    """`out[t, f] = sum_ij products[t + i - (I-1)//2, f + j - (J-1)//2, i, j]`."""
    t, f, height, width, _ = products.shape
    top, left = (height - 1) // 2, (width - 1) // 2
    padding = ((top, height - 1 - top), (left, width - 1 - left), *[(0, 0)] * 3)
    padded = jnp.pad(products, padding)
    moved = (
        padded[i : i + t, j : j + f, i, j] for i in range(height) for j in range(width)
    )
    return sum(moved, jnp.zeros_like(products[:, :, 0, 0]))
