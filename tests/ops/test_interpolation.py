"""Resizing along one axis as PyTorch does."""

import jax
import numpy as np
import pytest

from unmute_jax.ops import bicubic, bilinear


@pytest.mark.parametrize("resize", [bicubic, bilinear])
def test_the_same_number_of_samples_changes_nothing(resize):
    np.testing.assert_array_equal(resize(37, 37), np.eye(37))


@pytest.mark.parametrize("after", [1, 12, 62, 64, 111])
def test_constants_stay_constant(after):
    for resize in (bicubic, bilinear):
        np.testing.assert_allclose(resize(37, after).sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("after", [12, 37, 64])
def test_bilinear_equals_jax(after):
    x = np.random.default_rng(0).standard_normal((37, 3), np.float32)
    want = jax.image.resize(x, (after, 3), "linear", antialias=False)
    np.testing.assert_allclose(bilinear(37, after) @ x, want, atol=1e-5)


def test_bicubic_has_the_kernel_of_pytorch():
    # Point 21 of 40 lies a quarter of a sample after sample 10 of 20.
    want = np.zeros(20)
    want[9:13] = -0.10546875, 0.87890625, 0.26171875, -0.03515625
    np.testing.assert_allclose(bicubic(20, 40)[21], want, atol=1e-7)
    # At the ends the outermost samples take the weights of those beyond them.
    np.testing.assert_allclose(bicubic(20, 40)[0, :2], [1.10546875, -0.10546875], 1e-6)
