"""Finds the token of each clip that matches each prototype best.

The scores of a batch, `[B, P, N]`, are never in memory all at once. A few clips are
compared with a few prototypes at a time, so few that their scores stay in the cache,
whatever the number of prototypes. Only the best score and its position are kept.
"""

from __future__ import annotations

import functools
from math import isqrt
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array

from unmute_jax.ops.exact import as_bits, from_bits, products, split_exactly


def chunk_bytes() -> int:
    """The number of bytes of float32 scores that may exist at a time.

    On CPU they should stay in the second-level cache: sizes from 1 to 4 MiB were
    equally fast, and float32 tokens need three such arrays (`split_exactly`). An
    accelerator needs enough work per kernel and about half of its L2 cache; that figure
    is an estimate.
    """
    return (2 if jax.default_backend() == "cpu" else 32) << 20


def even_block_size(count: int, limit: int) -> int:
    """The size of equal blocks, as few as possible and none larger than `limit`."""
    return -(-count // -(-count // limit))


@functools.cache
def argmax_search(*, both: bool) -> Any:
    """Returns the function that searches the largest scaled products.

    It is `f(tokens [B, N, D], scale [B, N], mask [B, N], bank [P, D])` and returns the
    best scores and the first positions that have them, both of shape `[S, B, P]`. Under
    `vmap` over K banks that share the tokens, the banks become K times as many columns
    of one product.

    Args:
        both: Whether to search the largest scores (S = 1) or also the largest negated
            scores (S = 2).
    """

    def find(tokens: Any, scale: Any, mask: Any, bank: Any) -> tuple[Any, Any]:
        scores = chunk_bytes() // 4
        # A block is copied once per chunk. The least is copied if a block and a chunk
        # are about equally long.
        width = even_block_size(
            len(bank), max(1, min(scores // tokens.shape[1], isqrt(scores)))
        )
        chunk = even_block_size(
            len(tokens), max(1, scores // (width * tokens.shape[1]))
        )
        return _search_in_chunks(
            tokens, scale, mask, bank, both=both, chunk=chunk, width=width
        )

    def find_for_trials(
        trials: int, batched: Any, tokens: Any, scale: Any, mask: Any, bank: Any
    ) -> tuple[Any, Any]:
        if any(batched[:3]) or not batched[3]:
            best = map_over_trials(mapped, batched, tokens, scale, mask, bank)
            return best, (True, True)
        k, p, d = bank.shape
        best = mapped(tokens, scale, mask, bank.reshape(k * p, d))
        return tuple(_unfold_trials(a, k) for a in best), (True, True)

    mapped = custom_vmap(find)
    mapped.def_vmap(find_for_trials)
    return mapped


@functools.partial(jax.jit, static_argnames=("both", "chunk", "width"))
def _search_in_chunks(
    tokens: Array,
    scale: Array,
    mask: Array,
    bank: Array,
    *,
    both: bool,
    chunk: int,
    width: int,
) -> tuple[Array, Array]:
    """Searches `chunk` clips and `width` prototypes at a time.

    The function is compiled so that eager calls are fast as well.
    """
    b, n, d = tokens.shape
    bits, bank_bits = as_bits(tokens), as_bits(bank)
    finite = jnp.isfinite(bank).all(1)

    # Slices are moved back into bounds: the last chunk of a ragged batch starts earlier
    # and searches some clips again, and so does the last block of prototypes. All
    # chunks thus have one shape, without padded copies.
    def of_chunk(i: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
        def part(x: Array) -> Array:
            return lax.dynamic_slice_in_dim(x, i * chunk, chunk)

        rows = from_bits(part(bits), tokens.dtype).reshape(chunk * n, d)
        parts = split_exactly(rows, bank.dtype)

        def of_block(j: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
            block, is_finite = (
                lax.dynamic_slice_in_dim(x, j * width, width)
                for x in (bank_bits, finite)
            )
            scores = products(from_bits(block, bank.dtype), parts)
            scores = scores.reshape(width, chunk, n) * part(scale)[None]
            new = _first_best(scores, part(mask), is_finite, both)
            values, index = (
                lax.dynamic_update_slice(whole, x, (0, i * chunk, j * width))
                for whole, x in zip(best, new, strict=True)
            )
            return values, index

        return lax.fori_loop(0, -(-len(bank) // width), of_block, best)

    shape = (1 + both, b, len(bank))
    empty = (jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32))
    return lax.fori_loop(0, -(-b // chunk), of_chunk, empty)


def _first_best(
    scores: Array, mask: Array, is_finite: Array, both: bool
) -> tuple[Array, Array]:
    """The largest of the scores `[P, B, N]` over N and its first position, `[S, B, P]`.

    Positions where `mask` is false never win. `is_finite` tells which prototypes are
    finite.
    """
    n = scores.shape[2]
    places = lax.broadcasted_iota(jnp.int32, scores.shape, 2)
    # On CPU, XLA's maximum of a large array ignores NaN. A token that contains NaN
    # shows in the scores of any finite prototype, and a prototype that is not finite
    # has no other scores.
    sample = lax.dynamic_index_in_dim(scores, is_finite.argmax(), keepdims=False)
    spoilt = (mask & jnp.isnan(sample)).any(1)[None] | ~is_finite[:, None]
    sides: list[tuple[Array, Array]] = []
    for side in (scores, -scores) if both else (scores,):
        real = jnp.where(mask[None], side, -jnp.inf)
        best = real.max(2)
        # Two plain reductions are faster than the paired one of argmax, and the
        # smallest position is the first of equal maxima. The bound n - 1 matters only
        # where scores are NaN.
        index = jnp.where(real == best[:, :, None], places, n - 1).min(2)
        sides.append((jnp.where(spoilt, jnp.nan, best).T, index.T))
    best, index = (jnp.stack(x) for x in zip(*sides, strict=True))
    return best, index


def map_over_trials(f: Any, batched: Any, *args: Any) -> Any:
    """Calls `f` for one trial after the other; arguments not batched are shared."""

    def call(mapped: list[Any]) -> Any:
        rest = iter(mapped)
        return f(*(next(rest) if b else a for a, b in zip(args, batched, strict=True)))

    return lax.map(call, [a for a, b in zip(args, batched, strict=True) if b])


def _unfold_trials(x: Array, trials: int) -> Array:
    """Reshapes `[S, B, K * P]` to `[K, S, B, P]`."""
    return jnp.moveaxis(x.reshape(*x.shape[:2], trials, -1), 2, 0)
