"""The largest cosine similarity of each prototype with the tokens of a clip.

Written plainly, `einsum -> max` keeps every score `[B, N, P]` for the backward pass,
and that pass is two more products of the same size. But the gradient of a maximum
reaches one token per (clip, prototype), so the place of the winner is all to keep:

* forward: a chunk of clips at a time, small enough that its scores stay in the cache;
* backward: a weighted sum of the winning tokens, no matrix product.

Tokens come raw, with their inverse norms beside them: scores are scaled within the
chunk and no normalised copy of the tokens is ever made. The prototype's norm is a
positive factor, so it commutes with the maximum and is left to ordinary
differentiation, which removes the radial part of the gradient by itself.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from unmute_jax.ops.argmax_search import one_by_one, search
from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.ops.exact import as_floats, as_stored, bank_type


def max_cosine(
    tokens: Float[Array, "B N D"],
    inverse_norms: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    prototypes: Float[Array, "P D"],
    *,
    binary: bool = False,
) -> Float[Array, "B P"]:
    """`max_n cos(token_n, prototype_p)` over the positions where `mask` is true.

    Differentiable once, in reverse mode, in the tokens, the inverse norms and the
    prototypes; of equal maxima the first gets all of the gradient, as torch's
    `max(dim)`. Under `vmap` over trials that share the tokens the banks become columns
    of one product.

    Args:
        tokens: Raw tokens of any floating type.
        inverse_norms: `1 / max(|token|, 1e-12)`, float32.
        mask: True for real positions; the others never win. A clip without any scores 0
            everywhere and passes no gradient.
        prototypes: Float32; need not have unit norm.
        binary: The prototypes are exactly +1 or -1. They then take the type of the
            tokens without loss, and bfloat16 tokens are multiplied as they are: every
            product is exact, the sum is float32, and the unit that multiplies
            bfloat16 matrices does it. Float prototypes make it float32 throughout.

    Returns:
        Float32 similarities in [-1, 1].
    """
    best = max_product(tokens, inverse_norms, mask, prototypes, binary=binary)
    # max before sqrt: the other way round the gradient at a zero vector is NaN.
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
    """`max_n scale_n * (token_n . vector_p)`: `max_cosine` with norms of one's own.

    Args:
        tokens: Raw tokens of any floating type.
        scale: Positive, float32.
        mask: True for real positions; a clip without any has 0 everywhere.
        vectors: Float32.
        binary: As for `max_cosine`.
    """
    best: Any = _extremes(False, binary, tokens, scale, mask, vectors)
    return best[0]


class MinMeanMax(NamedTuple):
    """The products of each vector with the tokens of a clip, in three numbers."""

    smallest: Float[Array, "B P"]
    mean: Float[Array, "B P"]
    largest: Float[Array, "B P"]


def product_range(
    tokens: Float[Array, "B N D"],
    scale: Float[Array, "B N"],
    mask: Bool[Array, "B N"],
    vectors: Float[Array, "P D"],
) -> MinMeanMax:
    """The smallest, mean and largest `scale_n * (token_n . vector_p)` over positions.

    Smallest and largest come from one product; what is said at `max_cosine` holds for
    both. The mean is the product with the mean token.

    Args:
        tokens: Raw tokens of any floating type.
        scale: Positive, float32.
        mask: True for real positions; a clip without any has 0 everywhere.
        vectors: Float32.
    """
    best: Any = _extremes(True, False, tokens, scale, mask, vectors)
    count = jnp.maximum(mask.sum(1), 1).astype(jnp.float32)
    share = jnp.where(mask, scale, 0.0) / count[:, None]
    # Zeros, because whatever stands there meets a share of zero, and 0 * inf is NaN.
    real = jnp.where(mask[:, :, None], tokens, 0).astype(jnp.float32)
    precision = lax.Precision.HIGHEST
    mean = jnp.einsum("bn,bnd->bd", share, real, precision=precision)
    mean = jnp.einsum("bd,pd->bp", mean, vectors, precision=precision)
    return MinMeanMax(-best[1], mean, best[0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _extremes(
    both: bool, binary: bool, tokens: Any, scale: Any, mask: Any, prototypes: Any
) -> Any:
    """`max_n (token_n . prototype_p) * scale_n`, and with `both` that of the opposite.

    `[S, B, P]`, and 0 where nothing is real.
    """
    bank = prototypes.astype(bank_type(tokens.dtype, binary=binary))
    best, _ = search(both=both)(tokens, scale, mask, bank)
    return jnp.where(mask.any(1)[None, :, None], best, 0.0)


def _forward(
    both: bool, binary: bool, tokens: Any, scale: Any, mask: Any, prototypes: Any
) -> tuple[Any, Any]:
    """The values, and what the backward pass needs: places, not scores."""
    # Only what is being differentiated gets a cotangent: one of the tokens would be as
    # large as the tokens themselves, and training never asks for it.
    wants_tokens = tokens.perturbed or scale.perturbed
    tokens, scale, mask, prototypes = (
        a.value for a in (tokens, scale, mask, prototypes)
    )
    bank = prototypes.astype(bank_type(tokens.dtype, binary=binary))
    best, index = search(both=both)(tokens, scale, mask, bank)
    alive = mask.any(1)[None, :, None]
    won = jnp.take_along_axis(scale[None], index, axis=2)
    won = jnp.where(alive, won, 0.0)
    best = jnp.where(alive, best, 0.0)
    extra = (scale, prototypes, best) if wants_tokens else None
    return best, (tokens, index, won, extra)


def _backward(
    both: bool, binary: bool, residuals: Any, cotangent: Any
) -> tuple[Any, ...]:
    """Cotangents of tokens, scale, mask and prototypes."""
    del binary
    tokens, index, won, extra = residuals
    # The second half, where there is one, are the products with the opposite vectors.
    signs = jnp.asarray([1.0, -1.0][: 1 + both])
    weights = cotangent * won * signs[:, None, None]
    d_bank = sum(
        _sum_winners(tokens, i, w) for i, w in zip(index, weights, strict=True)
    )
    if extra is None:
        return None, None, None, d_bank
    scale, bank, best = extra
    # One clip at a time: all rows together would be a [B, P, D] tensor.
    d_tokens = lax.map(
        lambda clip: _scatter_rows(clip[0], clip[1], bank, tokens.shape[1]),
        (jnp.moveaxis(index, 1, 0), jnp.moveaxis(weights, 1, 0)),
    ).astype(tokens.dtype)
    raw = cotangent * best / jnp.where(won > 0, won, 1.0)
    clips = jnp.arange(len(tokens))[None, :, None]
    d_scale = jnp.zeros_like(scale).at[clips, index].add(raw)
    return d_tokens, d_scale, None, d_bank


_extremes.defvjp(_forward, _backward, symbolic_zeros=True)


def _scatter_rows(index: Array, weights: Array, bank: Array, n: int) -> Array:
    """`out[index_sp] += weights_sp * bank_p`, `[N, D]`."""
    rows = weights[:, :, None] * bank[None]
    return jnp.zeros((n, bank.shape[1]), rows.dtype).at[index].add(rows)


@custom_vmap
@jax.jit
def _sum_winners(tokens: Any, index: Any, weights: Any) -> Any:
    """`sum_b weights[b, p] * tokens[b, index[b, p]]`, `[P, D]` float32."""

    def add(total: Array, clip: tuple[Array, Array, Array]) -> tuple[Array, None]:
        rows, place, weight = clip
        won = rows.at[place].get(mode="promise_in_bounds")
        won = as_floats(won, tokens.dtype).astype(jnp.float32)
        return total + weight[:, None] * won, None

    empty = jnp.zeros((index.shape[1], tokens.shape[2]), jnp.float32)
    return lax.scan(add, empty, (as_stored(tokens), index, weights))[0]


@_sum_winners.def_vmap
def _sum_winners_vmap(
    trials: int, batched: Any, tokens: Any, index: Any, weights: Any
) -> tuple[Any, Any]:
    """As for the forward pass: shared tokens are read once for all trials."""
    if batched[0]:
        return one_by_one(_sum_winners, batched, tokens, index, weights), True
    index, weights = (
        jnp.broadcast_to(a if is_batched else a[None], (trials, *a.shape[-2:]))
        for a, is_batched in zip((index, weights), batched[1:], strict=True)
    )
    total = _sum_winners(tokens, _fold(index), _fold(weights))
    return total.reshape(trials, -1, total.shape[-1]), True


def _fold(x: Array) -> Array:
    """`[K, B, P]` to `[B, K * P]`."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)
