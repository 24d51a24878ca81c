"""Computes attention of all tokens to all, in the fastest way for the device."""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from unmute_jax.ops.chunked import map_in_chunks

# The most scores that a CPU keeps at a time: with more of them, the attention of 1,500
# tokens takes three times as long. Those of 512 tokens and twelve heads are fewer.
SCORES_AT_ONCE = 2**22


def attend(
    q: Float[Array, "B N H W"],
    k: Float[Array, "B N H W"],
    v: Float[Array, "B N H W"],
    keys: Bool[Array, "B N"] | None,
    dtype: Any,
) -> Float[Array, "B N H W"]:
    """Computes softmax(q k^T / sqrt(W)) v.

    Everything is float32 except for the factors of the two products. The implementation
    is chosen for the kind of device when the program is compiled:

    * CPU: the heads are moved in front of the tokens. `jax.nn.dot_product_attention`
      leaves them behind, which makes a whole ViT a fifth slower there. The queries of
      many tokens are processed in blocks.
    * CUDA: `jax.nn.dot_product_attention`, with cuDNN's flash attention if it supports
      the arrays (it never supports float32), otherwise with XLA. GPUs older than
      Ampere, such as the T4, have neither cuDNN's kernel nor products of bfloat16; they
      compute as a CPU does.
    * Others: `jax.nn.dot_product_attention` with XLA.

    Args:
        q: Queries, shape `[B, N, H, W]`.
        k: Keys, shape `[B, N, H, W]`.
        v: Values, shape `[B, N, H, W]`.
        keys: Mask of the tokens that are attended to, shape `[B, N]`. A clip without
            any of them attends to all tokens alike.
        dtype: Type of the factors; sums are float32.
    """
    return lax.platform_dependent(
        q,
        k,
        v,
        keys,
        cpu=functools.partial(_heads_first, dtype=dtype),
        cuda=functools.partial(_on_cuda, dtype=dtype),
        default=functools.partial(_by_jax, dtype=dtype, implementation="xla"),
    )


def multiply(subscripts: str, a: Array, b: Array) -> Array:
    """Computes the einsum of two arrays of the same type, summed in float32."""
    # "highest" makes some devices compute in several passes, which gains nothing for
    # factors of fewer bits than float32.
    precision = None if a.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.einsum(
        subscripts, a, b, precision=precision, preferred_element_type=jnp.float32
    )


def masked(
    scores: Float[Array, "B H Q N"], keys: Bool[Array, "B N"] | None
) -> Float[Array, "B H Q N"]:
    """Sets the scores of keys that must not be attended to to the lowest number.

    That number is finite, so that a row without any key is not NaN.
    """
    if keys is None:
        return scores
    return jnp.where(keys[:, None, None], scores, jnp.finfo(scores.dtype).min)


def pool(
    scores: Float[Array, "B H Q N"], v: Float[Array, "B H N W"]
) -> Float[Array, "B H Q W"]:
    """Computes softmax(scores) v; the division comes last, on fewer numbers."""
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    pooled = multiply("bhqk,bhkw->bhqw", weights.astype(v.dtype), v)
    return pooled / weights.sum(-1, keepdims=True)


def _heads_first(q: Array, k: Array, v: Array, keys: Array | None, dtype: Any) -> Array:
    q, k, v = (x.swapaxes(1, 2).astype(dtype) for x in (q * q.shape[-1] ** -0.5, k, v))
    b, h, n, _ = q.shape

    def of_queries(fixed: tuple[Array, Array], queries: Array) -> Array:
        k, v = fixed
        scores = multiply("bhqw,bhkw->bhqk", jnp.moveaxis(queries, 0, 2), k)
        return jnp.moveaxis(pool(masked(scores, keys), v), 2, 0)

    size = SCORES_AT_ONCE // (b * h * n)
    pooled = map_in_chunks(of_queries, (k, v), (jnp.moveaxis(q, 2, 0),), size=size)
    return pooled.swapaxes(0, 1)


def _on_cuda(q: Array, k: Array, v: Array, keys: Array | None, dtype: Any) -> Array:
    if dtype != jnp.float32 and not _multiplies_bfloat16():
        return _heads_first(q, k, v, keys, dtype)
    by_cudnn = functools.partial(_by_jax, dtype=dtype, implementation="cudnn")
    try:
        jax.eval_shape(by_cudnn, q, k, v, keys)
    except (NotImplementedError, RuntimeError, ValueError):
        # There is no cuDNN, or it does not support this type, width or device.
        return _by_jax(q, k, v, keys, dtype, "xla")
    return by_cudnn(q, k, v, keys)


def _multiplies_bfloat16() -> bool:
    """Whether the GPU has units for bfloat16, as from Ampere on.

    JAX checks neither that cuDNN's attention runs on the GPU nor that the products do:
    on an older one the compiled program would fail.
    """
    try:
        device = jax.local_devices(backend="cuda")[0]
    except RuntimeError:
        # Without a GPU this branch is compiled for nothing.
        return True
    return float(device.compute_capability) >= 8.0


def _by_jax(
    q: Array,
    k: Array,
    v: Array,
    keys: Array | None,
    dtype: Any,
    implementation: Literal["xla", "cudnn"],
) -> Array:
    # The function mixes bfloat16 and float32, which would raise under strict promotion.
    with jax.numpy_dtype_promotion("standard"):
        pooled = jax.nn.dot_product_attention(
            q.astype(dtype),
            k.astype(dtype),
            v.astype(dtype),
            mask=None if keys is None else keys[:, None, None],
            implementation=implementation,
        )
    return pooled.astype(jnp.float32)
