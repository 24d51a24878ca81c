"""Attention of all tokens to all, in the way that each kind of device is best at."""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def attend(
    q: Float[Array, "B N H W"],
    k: Float[Array, "B N H W"],
    v: Float[Array, "B N H W"],
    keys: Bool[Array, "B N"] | None,
    dtype: Any,
) -> Float[Array, "B N H W"]:
    """softmax(q k^T / sqrt(W)) v, in float32 but for the factors of the two products.

    The kind of device decides how, when the program is compiled for it:

    * CPU: the heads are moved in front of the tokens. `jax.nn.dot_product_attention`
      leaves them behind, which makes a whole ViT a fifth slower there.
    * CUDA: `jax.nn.dot_product_attention`, by cuDNN's flash attention where that takes
      such arrays (never float32), otherwise by XLA.
    * elsewhere: `jax.nn.dot_product_attention` by XLA.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        keys: Only these tokens are attended to; without any of them, all are alike.
        dtype: Type of the factors; sums are of float32.
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
    """The einsum of two arrays of the same type, as float32 and summed in it."""
    # "highest" asks some devices for several passes, which factors of fewer bits than
    # float32 have no use for.
    precision = None if a.dtype == jnp.float32 else lax.Precision.DEFAULT
    return jnp.einsum(
        subscripts, a, b, precision=precision, preferred_element_type=jnp.float32
    )


def masked(
    scores: Float[Array, "B H N N"], keys: Bool[Array, "B N"] | None
) -> Float[Array, "B H N N"]:
    """The lowest number for keys that must not be attended to.

    It is finite, so that a row without any key is no NaN.
    """
    if keys is None:
        return scores
    return jnp.where(keys[:, None, None], scores, jnp.finfo(scores.dtype).min)


def pool(
    scores: Float[Array, "B H N N"], v: Float[Array, "B H N W"]
) -> Float[Array, "B H N W"]:
    """softmax(scores) v; dividing comes last, where there are fewer numbers."""
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    pooled = multiply("bhqk,bhkw->bhqw", weights.astype(v.dtype), v)
    return pooled / weights.sum(-1, keepdims=True)


def _heads_first(q: Array, k: Array, v: Array, keys: Array | None, dtype: Any) -> Array:
    q, k, v = (x.swapaxes(1, 2).astype(dtype) for x in (q * q.shape[-1] ** -0.5, k, v))
    return pool(masked(multiply("bhqw,bhkw->bhqk", q, k), keys), v).swapaxes(1, 2)


def _on_cuda(q: Array, k: Array, v: Array, keys: Array | None, dtype: Any) -> Array:
    by_cudnn = functools.partial(_by_jax, dtype=dtype, implementation="cudnn")
    try:
        jax.eval_shape(by_cudnn, q, k, v, keys)
    except (NotImplementedError, RuntimeError, ValueError):
        # No cuDNN here, or not for this type, this width or this device.
        return _by_jax(q, k, v, keys, dtype, "xla")
    return by_cudnn(q, k, v, keys)


def _by_jax(
    q: Array,
    k: Array,
    v: Array,
    keys: Array | None,
    dtype: Any,
    implementation: Literal["xla", "cudnn"],
) -> Array:
    # It mixes bfloat16 and float32, which those who forbid that for themselves get to
    # feel otherwise.
    with jax.numpy_dtype_promotion("standard"):
        pooled = jax.nn.dot_product_attention(
            q.astype(dtype),
            k.astype(dtype),
            v.astype(dtype),
            mask=None if keys is None else keys[:, None, None],
            implementation=implementation,
        )
    return pooled.astype(jnp.float32)
