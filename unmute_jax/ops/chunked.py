"""Large batches in the small portions that a CPU is best at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

T = TypeVar("T")


def map_in_chunks(
    run: Callable[..., T], params: Any, clips: tuple[Any, ...], *, size: int
) -> T:
    """`run(params, *clips)`; on a CPU, for a few clips at a time.

    Then what is computed stays in the cache, and large arrays are not asked of the
    system and given back for every step: ViT-base on eight clips of 10 s takes a
    quarter less time, a filter bank of many clips a third less, both a fraction of the
    memory. Accelerators get the whole batch.

    Args:
        run: Treats every clip by itself.
        params: Its first argument.
        clips: Its other arguments, like the result trees of arrays `[B, ...]`.
        size: At most this many clips at a time; at least one.
    """
    b = len(jax.tree.leaves(clips)[0])
    portions = -(-b // max(1, size))
    if jax.default_backend() != "cpu" or portions <= 1:
        return run(params, *clips)
    size = -(-b // portions)

    def split(x: Array) -> Array:
        widths = [(0, portions * size - b), *[(0, 0)] * (x.ndim - 1)]
        return jnp.pad(x, widths).reshape(portions, size, *x.shape[1:])

    def step(portion: tuple[Any, ...]) -> T:
        # Otherwise bfloat16 weights would all be transposed in front of the loop.
        held, portion = lax.optimization_barrier((params, portion))
        return run(held, *portion)

    out = lax.map(step, jax.tree.map(split, clips))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:b], out)
