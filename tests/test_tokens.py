"""Tokens: statistics, inverse norms, and rounding as token stores do it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.tokens import Tokens, dequantise, quantise, summarise


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    return Tokens(
        patches=(rng.standard_normal((3, 5, 2, 4)) + 100).astype(np.float32),
        cls=rng.standard_normal((3, 4)).astype(np.float32),
        mask=np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]], bool),
    )


def test_statistics_are_those_of_the_real_positions(tokens):
    s = summarise(tokens)
    for i, steps in ((0, 5), (1, 2)):
        real = tokens.patches[i, :steps].astype(np.float64)
        flat = real.reshape(-1, 4)
        np.testing.assert_allclose(s.mean[i], flat.mean(0), rtol=1e-6)
        np.testing.assert_allclose(s.max[i], flat.max(0))
        np.testing.assert_allclose(s.std[i], flat.std(0), rtol=1e-4)
        np.testing.assert_allclose(s.band_mean[i], real.mean(0), rtol=1e-6)
        np.testing.assert_allclose(s.band_max[i], real.max(0))
        np.testing.assert_allclose(s.band_std[i], real.std(0), rtol=1e-4)
    np.testing.assert_array_equal(s.cls, tokens.cls)


def test_a_clip_without_real_steps_has_zeros(tokens):
    s = summarise(tokens)
    for x in (s.mean, s.max, s.std, s.band_mean, s.band_max, s.band_std):
        np.testing.assert_array_equal(x[2], 0)


def test_inverse_norms_are_guarded_at_zero(tokens):
    zero = Tokens(jnp.zeros((1, 1, 1, 4)), jnp.zeros((1, 4)), jnp.ones((1, 1), bool))
    np.testing.assert_allclose(zero.with_inverse_norms().inverse_norms, 1e12)
    norms = np.linalg.norm(tokens.patches, axis=-1)
    ours = tokens.with_inverse_norms().inverse_norms
    np.testing.assert_allclose(ours, 1 / norms, rtol=1e-6)


def test_int8_is_off_by_half_a_scale_and_the_rounding_of_bfloat16():
    x = np.random.default_rng(1).standard_normal((7, 5, 64)).astype(np.float32)
    x[0, 0] = 0
    x[1] *= 1e-20
    q, scales = quantise(x)
    assert q.dtype == np.int8
    np.testing.assert_array_equal(np.abs(np.asarray(q, np.int32)).max(-1)[1:], 127)
    np.testing.assert_allclose(scales, np.abs(x).max(-1) / 127, rtol=1e-6)
    values = np.asarray(dequantise(q, scales), np.float32)
    bound = 0.5 * np.asarray(scales)[..., None] + 2.0**-8 * np.abs(x)
    assert (np.abs(values - x) <= bound * 1.001).all()
    np.testing.assert_array_equal(values[0, 0], 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8"])
def test_rounding_tokens_twice_is_rounding_them_once(tokens, dtype):
    once = tokens.rounded(dtype)
    if dtype == "int8":
        q, scales = quantise(tokens.patches)
        stored = Tokens(q, tokens.cls, tokens.mask, scales=scales)
    else:
        stored = once
    twice = stored.rounded(dtype)
    np.testing.assert_array_equal(once.patches, twice.patches)
    norms = np.linalg.norm(np.asarray(once.patches, np.float64), axis=-1)
    np.testing.assert_allclose(once.inverse_norms, 1 / norms, rtol=1e-6)


@pytest.mark.parametrize("library", ["numpy", "jax", "float64", "bfloat16"])
def test_an_array_becomes_tokens_with_their_mean_as_class_token(library):
    x = np.random.default_rng(0).standard_normal((2, 5, 3, 4)).astype(np.float32)
    given = {
        "numpy": x,
        "jax": jnp.asarray(x),
        "float64": x.astype(np.float64),
        "bfloat16": jnp.asarray(x, jnp.bfloat16),
    }[library]
    made = Tokens.from_patches(given)
    atol = 1e-2 if library == "bfloat16" else 1e-6
    np.testing.assert_allclose(np.asarray(made.patches, np.float32), x, atol=atol)
    np.testing.assert_allclose(made.cls, x.mean((1, 2)), atol=atol)
    assert made.patches.dtype == ("bfloat16" if library == "bfloat16" else "float32")
    assert made.cls.dtype == "float32"
    assert made.mask.all()
    assert made.mask.shape == (2, 5)


def test_an_array_without_frequencies_and_with_a_mask_becomes_tokens():
    x = np.ones((2, 5, 4), np.float32)
    x[0, 3:] = np.nan  # Padding.
    mask = np.arange(5) < np.array([[3], [5]])
    made = Tokens.from_patches(x, mask)
    assert made.patches.shape == (2, 5, 1, 4)
    np.testing.assert_array_equal(made.cls, 1)
    np.testing.assert_array_equal(made.mask, mask)
    compiled = jax.jit(Tokens.from_patches)(x, mask)
    np.testing.assert_array_equal(compiled.cls, made.cls)


class OnDevice:
    """A tensor that cannot be read from here, as one on a GPU in PyTorch."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    ("patches", "mask", "message"),
    [
        (np.ones((5, 4), np.float32), None, r"\[B, T, D\], without a 0; got \[5, 4\]"),
        (np.ones((2, 0, 4), np.float32), None, r"without a 0; got \[2, 0, 4\]"),
        (np.ones((2, 5, 4), int), None, "must be floating-point numbers; got int64"),
        (np.full((2, 5, 4), np.nan), None, "patches of clip 0 are not finite"),
        (np.ones((2, 5, 4)), np.ones((2, 4), bool), r"\[B, T\] = \[2, 5\] and be of"),
        (np.ones((2, 5, 4)), np.ones((3, 5), bool), r"got \[3, 5\] of bool"),
        (OnDevice(), None, "cannot be read as an array: can't convert cuda:0"),
    ],
)
def test_an_array_that_is_no_token_map_is_refused_in_one_line(patches, mask, message):
    with pytest.raises(InputError, match=message):
        Tokens.from_patches(patches, mask)
