"""The largest cosine similarity of each prototype with the tokens of a clip.

Written plainly, `einsum -> max` keeps all scores `[B, N, P]` for the backward pass,
which consists of two more products of the same size. But the gradient of a maximum
reaches only one token per clip and prototype, so the position of that token is all
that must be kept:

* The forward pass processes a chunk of clips at a time, small enough that its scores
  stay in the cache.
* The backward pass is a weighted sum of the best tokens, without a matrix product.

Tokens are passed raw, together with their inverse norms. Scores are scaled within the
chunk, and no normalised copy of the tokens is ever made. The norm of a prototype is a
positive factor, so it commutes with the maximum and is left to ordinary
differentiation, which removes the radial part of the gradient.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from unmute_jax.ops.argmax_search import argmax_search, map_over_trials
from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.ops.exact import as_bits, bank_dtype, from_bits


def max_cosine(
    tokens: Float[Array, "B N D"],
    inverse_norms: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    prototypes: Float[Array, "P D"],
    *,
    binary: bool = False,
) -> Float[Array, "B P"]:
    """`max_n cos(token_n, prototype_p)` over the positions where `mask` is true.

    The function is differentiable once, in reverse mode, with respect to the tokens,
    the inverse norms and the prototypes. On ties, the first maximum receives all of the
    gradient, as in PyTorch's `max(dim)`. Under `vmap` over trials that share the
    tokens, the prototypes of all trials become columns of one product.

    Args:
        tokens: Raw tokens of any floating-point type.
        inverse_norms: `1 / max(|token|, 1e-12)`, float32.
        mask: True for real positions; the others never win. A clip without any real
            position has the score 0 everywhere and passes on no gradient.
        prototypes: Prototypes in float32, which need not have unit norm.
        binary: Whether the prototypes are exactly +1 or -1. If so, they take the type
            of the tokens without loss, and bfloat16 tokens are multiplied as they are,
            by a bfloat16 matrix unit where there is one: every product is exact, and
            the sum is float32. Products with other prototypes are float32 throughout.

    Returns:
        Similarities in [-1, 1], float32.
    """
    best = max_product(tokens, inverse_norms, mask, prototypes, binary=binary)
    # max before sqrt: the other way round, the gradient at a zero vector is NaN.
    norms = jnp.sqrt(jnp.maximum(jnp.square(prototypes).sum(-1), NORM_EPS**2))
    return best / norms[None]


def max_product(
    tokens: Float[Array, "B N D"],
    scale: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    vectors: Float[Array, "P D"],
    *,
    binary: bool = False,
) -> Float[Array, "B P"]:
    """`max_n scale_n * (token_n . vector_p)`, differentiable as `max_cosine`.

    Args:
        tokens: Raw tokens of any floating-point type.
        scale: Positive factor of each token, float32.
        mask: True for real positions; a clip without any has the value 0 everywhere.
        vectors: Vectors in float32.
        binary: Whether the vectors are exactly +1 or -1; see `max_cosine`.
    """
    best: Any = _extremes(False, binary, tokens, scale, mask, vectors)
    return best[0]


class MinMeanMax(NamedTuple):
    """The smallest, mean and largest product of each vector with a clip's tokens."""

    smallest: Float[Array, "B P"]
    mean: Float[Array, "B P"]
    largest: Float[Array, "B P"]


def min_mean_max(
    tokens: Float[Array, "B N D"],
    scale: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    vectors: Float[Array, "P D"],
) -> MinMeanMax:
    """The smallest, mean and largest `scale_n * (token_n . vector_p)` over positions.

    The smallest and the largest value share one product and are differentiable as
    `max_cosine`. The mean is the product with the mean token.

    Args:
        tokens: Raw tokens of any floating-point type.
        scale: Positive factor of each token, float32.
        mask: True for real positions; a clip without any has the value 0 everywhere.
        vectors: Vectors in float32.
    """
    best: Any = _extremes(True, False, tokens, scale, mask, vectors)
    count = jnp.maximum(mask.sum(1), 1).astype(jnp.float32)
    share = jnp.where(mask, scale, 0.0) / count[:, None]
    # Masked tokens are set to zero: their share is zero, but 0 * inf is NaN.
    real = jnp.where(mask[:, :, None], tokens, 0).astype(jnp.float32)
    precision = lax.Precision.HIGHEST
    mean = jnp.einsum("bn,bnd->bd", share, real, precision=precision)
    mean = jnp.einsum("bd,pd->bp", mean, vectors, precision=precision)
    return MinMeanMax(-best[1], mean, best[0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _extremes(
    both: bool, binary: bool, tokens: Any, scale: Any, mask: Any, prototypes: Any
) -> Any:
    """`max_n (token_n . prototype_p) * scale_n`, and with `both` that of its negative.

    The shape is `[S, B, P]`; clips without a real position have 0.
    """
    bank = prototypes.astype(bank_dtype(tokens.dtype, binary=binary))
    best, _ = argmax_search(both=both)(tokens, scale, mask, bank)
    return jnp.where(mask.any(1)[None, :, None], best, 0.0)


def _forward(
    both: bool, binary: bool, tokens: Any, scale: Any, mask: Any, prototypes: Any
) -> tuple[Any, Any]:
    """The values, and the residuals of the backward pass: positions, not scores."""
    # Only arguments being differentiated get a cotangent. The cotangent of the tokens
    # is as large as the tokens themselves, and training never needs it.
    wants_tokens = tokens.perturbed or scale.perturbed
    tokens, scale, mask, prototypes = (
        a.value for a in (tokens, scale, mask, prototypes)
    )
    bank = prototypes.astype(bank_dtype(tokens.dtype, binary=binary))
    best, index = argmax_search(both=both)(tokens, scale, mask, bank)
    has_real = mask.any(1)[None, :, None]
    best_scale = jnp.take_along_axis(scale[None], index, axis=2)
    best_scale = jnp.where(has_real, best_scale, 0.0)
    best = jnp.where(has_real, best, 0.0)
    extra = (scale, prototypes, best) if wants_tokens else None
    return best, (tokens, index, best_scale, extra)


def _backward(
    both: bool, binary: bool, residuals: Any, cotangent: Any
) -> tuple[Any, ...]:
    """The cotangents of tokens, scale, mask and prototypes."""
    del binary
    tokens, index, best_scale, extra = residuals
    # With `both`, the second half holds the products with the negated vectors.
    signs = jnp.asarray([1.0, -1.0][: 1 + both])
    weights = cotangent * best_scale * signs[:, None, None]
    d_bank = sum(
        _weighted_sum_of_best(tokens, i, w) for i, w in zip(index, weights, strict=True)
    )
    if extra is None:
        return None, None, None, d_bank
    scale, bank, best = extra
    # One clip at a time: the rows of all clips together would be a [B, P, D] tensor.
    d_tokens = lax.map(
        lambda clip: _scatter_rows(clip[0], clip[1], bank, tokens.shape[1]),
        (jnp.moveaxis(index, 1, 0), jnp.moveaxis(weights, 1, 0)),
    ).astype(tokens.dtype)
    raw = cotangent * best / jnp.where(best_scale > 0, best_scale, 1.0)
    clips = jnp.arange(len(tokens))[None, :, None]
    d_scale = jnp.zeros_like(scale).at[clips, index].add(raw)
    return d_tokens, d_scale, None, d_bank


_extremes.defvjp(_forward, _backward, symbolic_zeros=True)


def _scatter_rows(index: Array, weights: Array, bank: Array, n: int) -> Array:
    """`out[index_sp] += weights_sp * bank_p`, shape `[N, D]`."""
    rows = weights[:, :, None] * bank[None]
    return jnp.zeros((n, bank.shape[1]), rows.dtype).at[index].add(rows)


@custom_vmap
@jax.jit
def _weighted_sum_of_best(tokens: Any, index: Any, weights: Any) -> Any:
    """`sum_b weights[b, p] * tokens[b, index[b, p]]`, shape `[P, D]`, float32."""

    def add(total: Array, clip: tuple[Array, Array, Array]) -> tuple[Array, None]:
        bits, place, weight = clip
        rows = bits.at[place].get(mode="promise_in_bounds")
        rows = from_bits(rows, tokens.dtype).astype(jnp.float32)
        return total + weight[:, None] * rows, None

    empty = jnp.zeros((index.shape[1], tokens.shape[2]), jnp.float32)
    return lax.scan(add, empty, (as_bits(tokens), index, weights))[0]


@_weighted_sum_of_best.def_vmap
def _weighted_sum_of_best_for_trials(
    trials: int, batched: Any, tokens: Any, index: Any, weights: Any
) -> tuple[Any, Any]:
    """Reads tokens that the trials share only once, as in the forward pass."""
    if batched[0]:
        return (
            map_over_trials(_weighted_sum_of_best, batched, tokens, index, weights),
            True,
        )
    index, weights = (
        jnp.broadcast_to(a if is_batched else a[None], (trials, *a.shape[-2:]))
        for a, is_batched in zip((index, weights), batched[1:], strict=True)
    )
    total = _weighted_sum_of_best(tokens, _fold_trials(index), _fold_trials(weights))
    return total.reshape(trials, -1, total.shape[-1]), True


def _fold_trials(x: Array) -> Array:
    """Reshapes `[K, B, P]` to `[B, K * P]`."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)
