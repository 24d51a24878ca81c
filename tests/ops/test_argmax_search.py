"""The search of the best token against NumPy's argmax."""

import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import argmax_search


@pytest.mark.parametrize(
    ("count", "limit", "size"),
    [(10, 4, 4), (9, 4, 3), (9, 8, 5), (3, 10, 3), (5, 1, 1)],
)
def test_blocks_are_even_and_as_few_as_possible(count, limit, size):
    assert argmax_search.even_block_size(count, limit) == size


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_the_first_of_the_largest_and_smallest_scores_is_found(chunk, monkeypatch):
    monkeypatch.setattr(argmax_search, "chunk_bytes", lambda: chunk)
    rng = np.random.default_rng(0)
    # Small whole numbers: many scores are equal.
    tokens = rng.integers(-1, 2, (3, 8, 2)).astype(np.float32)
    bank = rng.integers(-1, 2, (5, 2)).astype(np.float32)
    mask = rng.random((3, 8)) < 0.7
    mask[:, 3] = True
    scale = np.ones((3, 8), np.float32)
    scores = np.einsum("bnd,pd->bpn", tokens, bank)
    real = mask[:, None]
    find = argmax_search.argmax_search(both=True)
    best, index = map(np.asarray, find(*map(jnp.asarray, (tokens, scale, mask, bank))))
    largest, smallest = np.where(real, scores, -9), np.where(real, scores, 9)
    np.testing.assert_array_equal(best, [largest.max(2), -smallest.min(2)])
    np.testing.assert_array_equal(index, [largest.argmax(2), smallest.argmin(2)])
