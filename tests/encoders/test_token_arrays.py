"""Arrays that other code gives become `Tokens`, or an error that says what is wrong."""

import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.encoders.token_arrays import as_tokens, check_edges
from unmute_jax.errors import InputError

B, T, F, D = 2, 3, 4, 5
PATCHES = np.random.default_rng(0).standard_normal((B, T, F, D))
MASK = np.array([[1, 1, 1], [1, 0, 0]], bool)


@pytest.mark.parametrize("xp", [np, jnp])
def test_missing_arrays_have_defaults(xp):
    tokens = as_tokens("it", PATCHES.astype(np.float16), B, xp)
    assert isinstance(tokens.patches, np.ndarray if xp is np else jnp.ndarray)
    assert tokens.patches.dtype == np.float32
    assert tokens.mask.all()
    np.testing.assert_allclose(tokens.cls, tokens.patches.mean((1, 2)), atol=1e-6)


def test_the_mean_leaves_out_masked_steps():
    tokens = as_tokens("it", {"patches": PATCHES, "mask": MASK}, B)
    np.testing.assert_allclose(tokens.cls[1], PATCHES[1, 0].mean(0), atol=1e-6)


def test_tokens_and_maps_without_a_frequency_axis_are_taken():
    tokens = as_tokens("it", PATCHES[:, :, 0], B)
    assert tokens.patches.shape == (B, T, 1, D)
    again = as_tokens("it", tokens, B)
    np.testing.assert_array_equal(again.patches, tokens.patches)
    np.testing.assert_array_equal(again.cls, tokens.cls)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"cls": PATCHES[:, 0, 0]}, "it gives no patches, only cls"),
        ({"patch": PATCHES}, "did you mean 'patches'"),
        (PATCHES[0], r"shape \[3, 4, 5\] for 2 clips: the shape must be \[clips, time"),
        (PATCHES.astype(int), "patches of int64: it must be floating point"),
        ({"patches": PATCHES, "mask": MASK[:, :2]}, r"mask of shape \[2, 2\] of bool"),
        ({"patches": PATCHES, "cls": PATCHES[:, 0, 0, :3]}, r"cls of shape \[2, 3\]"),
        ({"patches": PATCHES.tolist(), "cls": "x"}, "cls of <U1: it must be floating"),
    ],
)
def test_wrong_arrays_are_refused(out, message):
    with pytest.raises(InputError, match=message):
        as_tokens("it", out, B)


@pytest.mark.parametrize(
    "edges", [(), ((5, 1),), ((0, 5), (-1, 2)), ((0, float("inf")),), 3, (("a", "b"),)]
)
def test_wrong_frequency_edges_are_refused(edges):
    with pytest.raises(InputError, match=r"of it must be \(low, high\) in Hz"):
        check_edges("it", edges)
    check_edges("it", ((0, 100), (50.0, 200)))
