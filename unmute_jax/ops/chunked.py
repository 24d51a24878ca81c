"""Applies a function to a batch in small chunks where that is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

T = TypeVar("T")


def map_in_chunks(
    function: Callable[..., T], params: Any, clips: tuple[Any, ...], *, size: int
) -> T:
    """Computes `function(params, *clips)`; on a CPU, a few clips at a time.

    On a CPU, intermediate results then stay in the cache, and no large arrays are
    allocated and freed in every step: ViT-base on eight clips of 10 s takes a quarter
    less time, a filter bank of many clips a third less, both with a fraction of the
    memory. Accelerators get the whole batch.

    Args:
        function: A function that treats every clip independently of the others.
        params: The first argument of the function.
        clips: The other arguments of the function. Like its result, they are trees of
            arrays `[B, ...]`.
        size: The largest number of clips in a chunk; values below 1 count as 1.
    """
    b = len(jax.tree.leaves(clips)[0])
    chunks = -(-b // max(1, size))
    if jax.default_backend() != "cpu" or chunks <= 1:
        return function(params, *clips)
    size = -(-b // chunks)

    def split(x: Array) -> Array:
        widths = [(0, chunks * size - b), *[(0, 0)] * (x.ndim - 1)]
        return jnp.pad(x, widths).reshape(chunks, size, *x.shape[1:])

    def step(chunk: tuple[Any, ...]) -> T:
        # Without the barrier, all bfloat16 weights are transposed ahead of the loop.
        fixed, chunk = lax.optimization_barrier((params, chunk))
        return function(fixed, *chunk)

    out = lax.map(step, jax.tree.map(split, clips))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:b], out)
