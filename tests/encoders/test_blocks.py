"""The parts that the transformers share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.encoders.blocks import Linear, gelu, layer_norm, patchify


def test_a_product_with_patches_is_the_convolution_of_the_reference():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 70, 128), np.float32)
    kernel = rng.standard_normal((5, 16, 16), np.float32)
    patches = np.asarray(patchify(jnp.asarray(x), 16, 8))
    got = np.einsum("btfp,op->btfo", patches, kernel.reshape(5, -1))
    want = jax.lax.conv_general_dilated(
        x[:, None], kernel[:, None], window_strides=(16, 16), padding="VALID"
    )
    # Six frames at the end fill no patch.
    assert got.shape == (2, 4, 8, 5)
    np.testing.assert_allclose(got, np.moveaxis(want, 1, -1), atol=1e-4)


@pytest.mark.parametrize("mels", [64, 120, 144])
def test_another_number_of_mel_bands_does_not_fit_the_positions(mels):
    with pytest.raises(ValueError, match=f"8 patches over 128 .* gives {mels} mel"):
        patchify(jnp.zeros((1, 32, mels)), 16, 8)


def test_the_variance_of_a_layer_norm_keeps_its_digits():
    # The one-pass formula of Flax would lose all of them.
    x = np.float32(1000) + np.linspace(-0.5, 0.5, 8, dtype=np.float32)[None]
    got, _ = jax.jit(layer_norm(1e-6).init_with_output)(jax.random.key(0), x)
    exact = x.astype(np.float64) - x.mean(dtype=np.float64)
    np.testing.assert_allclose(got, exact / exact.std(), atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_linear_map_gives_float32_whatever_its_factors(dtype):
    x = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    weight = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    params = {"weight": weight, "bias": np.ones(5, np.float32)}
    got = jax.jit(Linear(5, dtype=dtype).apply)({"params": params}, x)
    assert got.dtype == jnp.float32
    tolerance = 1e-5 if dtype == jnp.float32 else 3e-2
    np.testing.assert_allclose(got, x @ weight.T + 1, rtol=tolerance, atol=tolerance)


def test_the_gelu_is_the_exact_one():
    x = jnp.linspace(-4, 4, 101)
    np.testing.assert_allclose(gelu(x), jax.nn.gelu(x, approximate=False), atol=1e-6)
