"""Which token of a clip matches each prototype best: the search behind the maxima.

All scores of a batch, `[B, P, N]`, are never in memory at once. A few clips meet a few
prototypes at a time, so few that their scores stay in the cache, however many
prototypes there are; what is kept is the best score and its place.
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

from unmute_jax.ops.exact import as_floats, as_parts, as_stored, products


def chunk_bytes() -> int:
    """How many bytes of float32 scores may exist at a time.

    On CPU they should stay in the second-level cache: 1 to 4 MiB were equal within the
    noise, and float32 tokens have three such arrays (`as_parts`). An accelerator wants
    enough work per kernel and about half of its L2; that figure is an estimate.
    """
    return (2 if jax.default_backend() == "cpu" else 32) << 20


def evenly(count: int, most: int) -> int:
    """The width of the fewest blocks of at most `most` that hold `count` things."""
    return -(-count // -(-count // most))


@functools.cache
def search(*, both: bool) -> Any:
    """The search for the largest scaled products, or for the smallest as well.

    It is `f(tokens [B, N, D], scale [B, N], mask [B, N], bank [P, D])` and gives the
    best scores and the first places that have them, both `[S, B, P]`: the largest
    scores, and with `both` the largest negated ones. Under `vmap` over banks that share
    the tokens, K banks are K times as many columns.
    """

    def find(tokens: Any, scale: Any, mask: Any, bank: Any) -> tuple[Any, Any]:
        scores = chunk_bytes() // 4
        # A block is copied for every chunk: both about as long, least is copied.
        width = evenly(len(bank), max(1, min(scores // tokens.shape[1], isqrt(scores))))
        chunk = evenly(len(tokens), max(1, scores // (width * tokens.shape[1])))
        return _visit_chunks(
            tokens, scale, mask, bank, both=both, chunk=chunk, width=width
        )

    def find_for_trials(
        trials: int, batched: Any, tokens: Any, scale: Any, mask: Any, bank: Any
    ) -> tuple[Any, Any]:
        if any(batched[:3]) or not batched[3]:
            found = one_by_one(mapped, batched, tokens, scale, mask, bank)
            return found, (True, True)
        k, p, d = bank.shape
        found = mapped(tokens, scale, mask, bank.reshape(k * p, d))
        return tuple(_unfold(a, k) for a in found), (True, True)

    mapped = custom_vmap(find)
    mapped.def_vmap(find_for_trials)
    return mapped


@functools.partial(jax.jit, static_argnames=("both", "chunk", "width"))
def _visit_chunks(
    tokens: Array,
    scale: Array,
    mask: Array,
    bank: Array,
    *,
    both: bool,
    chunk: int,
    width: int,
) -> tuple[Array, Array]:
    """`chunk` clips and `width` prototypes at a time.

    Compiled, so that eager calls are once.
    """
    b, n, d = tokens.shape
    stored, stored_bank = as_stored(tokens), as_stored(bank)
    finite = jnp.isfinite(bank).all(1)

    # Slices are moved back into bounds: the last chunk of a ragged batch starts early
    # and finds some clips again, and so do prototypes. One shape, no padded copies.
    def visit(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        def part(x: Array) -> Array:
            return lax.dynamic_slice_in_dim(x, i * chunk, chunk)

        rows = as_floats(part(stored), tokens.dtype).reshape(chunk * n, d)
        parts = as_parts(rows, bank.dtype)

        def look(j: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
            block, sound = (
                lax.dynamic_slice_in_dim(x, j * width, width)
                for x in (stored_bank, finite)
            )
            scores = products(as_floats(block, bank.dtype), parts)
            scores = scores.reshape(width, chunk, n) * part(scale)[None]
            new = _first_best(scores, part(mask), sound, both)
            best, index = (
                lax.dynamic_update_slice(whole, x, (0, i * chunk, j * width))
                for whole, x in zip(found, new, strict=True)
            )
            return best, index

        return lax.fori_loop(0, -(-len(bank) // width), look, found)

    shape = (1 + both, b, len(bank))
    empty = (jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32))
    return lax.fori_loop(0, -(-b // chunk), visit, empty)


def _first_best(
    scores: Array, mask: Array, sound: Array, both: bool
) -> tuple[Array, Array]:
    """The largest of `[P, B, N]` over N and the first place that has it, `[S, B, P]`.

    Places where `mask` is false never win. `sound` says which prototypes are finite.
    """
    n = scores.shape[2]
    places = lax.broadcasted_iota(jnp.int32, scores.shape, 2)
    # On CPU, XLA's maximum of a large array passes over NaN. A token that holds one
    # shows in the scores of any sound prototype; a prototype that is not sound has no
    # other scores.
    seen = lax.dynamic_index_in_dim(scores, sound.argmax(), keepdims=False)
    spoilt = (mask & jnp.isnan(seen)).any(1)[None] | ~sound[:, None]
    found: list[tuple[Array, Array]] = []
    for side in (scores, -scores) if both else (scores,):
        real = jnp.where(mask[None], side, -jnp.inf)
        best = real.max(2)
        # Two plain reductions are faster than the paired one of argmax, and the
        # smallest place is the first of equal maxima. The bound matters only where
        # scores are NaN.
        index = jnp.where(real == best[:, :, None], places, n - 1).min(2)
        found.append((jnp.where(spoilt, jnp.nan, best).T, index.T))
    best, index = (jnp.stack(x) for x in zip(*found, strict=True))
    return best, index


def one_by_one(f: Any, batched: Any, *args: Any) -> Any:
    """`f` for each trial in turn; arguments that are not batched are shared."""

    def call(mapped: list[Any]) -> Any:
        rest = iter(mapped)
        return f(*(next(rest) if b else a for a, b in zip(args, batched, strict=True)))

    return lax.map(call, [a for a, b in zip(args, batched, strict=True) if b])


def _unfold(x: Array, trials: int) -> Array:
    """`[S, B, K * P]` to `[K, S, B, P]`."""
    return jnp.moveaxis(x.reshape(*x.shape[:2], trials, -1), 2, 0)
