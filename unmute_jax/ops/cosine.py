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
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from unmute_jax.tokens import NORM_EPS


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
    best: Any = _max_scaled(binary, tokens, scale, mask, vectors)
    return best


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _max_scaled(
    binary: bool, tokens: Any, inverse_norms: Any, mask: Any, prototypes: Any
) -> Any:
    """`max_n (token_n . prototype_p) * inverse_norm_n`, and 0 where nothing is real."""
    bank = prototypes.astype(tokens.dtype) if binary else prototypes
    best, _ = _winners(tokens, inverse_norms, mask, bank)
    return jnp.where(mask.any(1)[:, None], best, 0.0)


def _forward(
    binary: bool, tokens: Any, inverse_norms: Any, mask: Any, prototypes: Any
) -> tuple[Any, Any]:
    """The values, and what the backward pass needs: places, not scores."""
    # Only what is being differentiated gets a cotangent: one of the tokens would be as
    # large as the tokens themselves, and training never asks for it.
    wants_tokens = tokens.perturbed or inverse_norms.perturbed
    tokens, inverse_norms, mask, prototypes = (
        a.value for a in (tokens, inverse_norms, mask, prototypes)
    )
    bank = prototypes.astype(tokens.dtype) if binary else prototypes
    best, index = _winners(tokens, inverse_norms, mask, bank)
    alive = mask.any(1)[:, None]
    scale = jnp.where(alive, jnp.take_along_axis(inverse_norms, index, axis=1), 0.0)
    best = jnp.where(alive, best, 0.0)
    extra = (inverse_norms, prototypes, best) if wants_tokens else None
    return best, (tokens, index, scale, extra)


def _backward(binary: bool, residuals: Any, cotangent: Any) -> tuple[Any, ...]:
    """Cotangents of tokens, inverse norms, mask and prototypes."""
    del binary
    tokens, index, scale, extra = residuals
    weights = cotangent * scale
    bank_cotangent = _sum_winners(tokens, index, weights)
    if extra is None:
        return None, None, None, bank_cotangent
    inverse_norms, bank, best = extra
    clips = jnp.arange(len(tokens))[:, None]
    # One clip at a time: all rows together would be a [B, P, D] tensor.
    d_tokens = lax.map(
        lambda clip: _scatter_rows(clip[0], clip[1], bank, tokens.shape[1]),
        (index, weights),
    ).astype(tokens.dtype)
    raw = cotangent * best / jnp.where(scale > 0, scale, 1.0)
    d_inverse = jnp.zeros_like(inverse_norms).at[clips, index].add(raw)
    return d_tokens, d_inverse, None, bank_cotangent


_max_scaled.defvjp(_forward, _backward, symbolic_zeros=True)


def _scatter_rows(index: Array, weights: Array, bank: Array, n: int) -> Array:
    """`out[index_p] += weights_p * bank_p`, `[N, D]`."""
    rows = weights[:, None] * bank
    return jnp.zeros((n, bank.shape[1]), rows.dtype).at[index].add(rows)


@custom_vmap
def _winners(tokens: Any, scale: Any, mask: Any, bank: Any) -> tuple[Any, Any]:
    """The best scaled score of every prototype and the first place that has it."""
    b, n, _ = tokens.shape
    chunk = max(1, min(b, chunk_bytes() // (4 * n * len(bank))))
    return _visit_chunks(tokens, scale, mask, bank, chunk=chunk)


@functools.partial(jax.jit, static_argnames="chunk")
def _visit_chunks(
    tokens: Array, scale: Array, mask: Array, bank: Array, *, chunk: int
) -> tuple[Array, Array]:
    """`_winners`, `chunk` clips at a time. Compiled, so that eager calls are once."""
    b = len(tokens)
    stored = _as_stored(tokens)

    def visit(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        # Slices are moved back into bounds: the last chunk of a ragged batch starts
        # early and finds some clips again. One shape, no padded copy of the tokens.
        start = i * chunk

        def part(x: Array) -> Array:
            return lax.dynamic_slice_in_dim(x, start, chunk)

        rows = _as_floats(part(stored), tokens.dtype)
        new = _chunk_winners(rows, part(scale), part(mask), bank)
        best, index = (
            lax.dynamic_update_slice_in_dim(whole, x, start, 0)
            for whole, x in zip(found, new, strict=True)
        )
        return best, index

    shape = (b, len(bank))
    empty = (jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32))
    return lax.fori_loop(0, -(-b // chunk), visit, empty)


def _chunk_winners(
    tokens: Array, scale: Array, mask: Array, bank: Array
) -> tuple[Array, Array]:
    """`_winners` of a few clips at once; holds their scores `[chunk, N, P]`."""
    c, n, d = tokens.shape
    rows = tokens.reshape(c * n, d).astype(bank.dtype)
    scores = jnp.einsum(
        "nd,pd->np",
        rows,
        bank,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    scores = scores.reshape(c, n, -1) * scale[:, :, None]
    scores = jnp.where(mask[:, :, None], scores, -jnp.inf)
    best = scores.max(1)
    # Two plain reductions are faster than the paired one of argmax, and the smallest
    # place is the first of equal maxima. The bound matters only where scores are NaN.
    places = lax.broadcasted_iota(jnp.int32, scores.shape, 1)
    index = jnp.where(scores == best[:, None], places, n - 1).min(1)
    return best, index


@custom_vmap
@jax.jit
def _sum_winners(tokens: Any, index: Any, weights: Any) -> Any:
    """`sum_b weights[b, p] * tokens[b, index[b, p]]`, `[P, D]` float32."""

    def add(total: Array, clip: tuple[Array, Array, Array]) -> tuple[Array, None]:
        rows, place, weight = clip
        won = rows.at[place].get(mode="promise_in_bounds")
        won = _as_floats(won, tokens.dtype).astype(jnp.float32)
        return total + weight[:, None] * won, None

    empty = jnp.zeros((index.shape[1], tokens.shape[2]), jnp.float32)
    return lax.scan(add, empty, (_as_stored(tokens), index, weights))[0]


def _as_stored(tokens: Array) -> Array:
    """On CPU, bfloat16 tokens as the integers that hold them.

    XLA has no bfloat16 slices there: for a part of an array it widens all of it to
    float32 first. Integers of the same size it takes as they are. Where the caller made
    the tokens from integers, in the same program, nothing is copied.
    """
    if jax.default_backend() == "cpu" and tokens.dtype == jnp.bfloat16:
        return lax.bitcast_convert_type(tokens, jnp.uint16)
    return tokens


def _as_floats(stored: Array, dtype: Any) -> Array:
    """The way back from `_as_stored`."""
    if stored.dtype == dtype:
        return stored
    return lax.bitcast_convert_type(stored, dtype)


def chunk_bytes() -> int:
    """How many bytes of float32 scores a chunk of clips may have.

    On CPU they should stay in the second-level cache (2 to 4 MiB were best, twice as
    much cost 5 to 10 %). An accelerator wants enough work per kernel and about half of
    its L2; that figure is an estimate.
    """
    return (4 if jax.default_backend() == "cpu" else 32) << 20


@_winners.def_vmap
def _winners_vmap(
    trials: int, batched: Any, tokens: Any, scale: Any, mask: Any, bank: Any
) -> tuple[Any, Any]:
    """Shared tokens: K banks are K times as many columns. Own tokens: one by one."""
    if any(batched[:3]) or not batched[3]:
        found = _one_by_one(_winners, batched, tokens, scale, mask, bank)
        return found, (True, True)
    k, p, d = bank.shape
    found = _winners(tokens, scale, mask, bank.reshape(k * p, d))
    return tuple(_unfold(a, k) for a in found), (True, True)


@_sum_winners.def_vmap
def _sum_winners_vmap(
    trials: int, batched: Any, tokens: Any, index: Any, weights: Any
) -> tuple[Any, Any]:
    """As for the forward pass: shared tokens are read once for all trials."""
    if batched[0]:
        return _one_by_one(_sum_winners, batched, tokens, index, weights), True
    index, weights = (
        jnp.broadcast_to(a if is_batched else a[None], (trials, *a.shape[-2:]))
        for a, is_batched in zip((index, weights), batched[1:], strict=True)
    )
    total = _sum_winners(tokens, _fold(index), _fold(weights))
    return total.reshape(trials, -1, total.shape[-1]), True


def _fold(x: Array) -> Array:
    """`[K, B, P]` to `[B, K * P]`."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)


def _unfold(x: Array, trials: int) -> Array:
    """`[B, K * P]` to `[K, B, P]`."""
    return jnp.moveaxis(x.reshape(len(x), trials, -1), 1, 0)


def _one_by_one(f: Any, batched: Any, *args: Any) -> Any:
    """`f` for each trial in turn; arguments that are not batched are shared."""

    def call(mapped: list[Any]) -> Any:
        rest = iter(mapped)
        return f(*(next(rest) if b else a for a, b in zip(args, batched, strict=True)))

    return lax.map(call, [a for a, b in zip(args, batched, strict=True) if b])
