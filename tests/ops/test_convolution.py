import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from unmute_jax.ops import convolution, convolve


def by_xla(tokens, kernel):
    return lax.conv_general_dilated(
        tokens,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


# Kernels that are even, larger than the map, of one entry.
@pytest.mark.parametrize("window", [(3, 3), (2, 4), (7, 5), (1, 1)])
@pytest.mark.parametrize("chunk", [2, 100])
def test_values_and_gradients_are_those_of_a_convolution(
    key, window, chunk, monkeypatch
):
    tokens = jax.random.normal(key, (5, 6, 3, 4))
    kernel = jax.random.normal(key, (*window, 4, 2))
    weights = jax.random.normal(key, (5, 6, 3, 2))
    per_clip = 4 * 6 * 3 * window[0] * window[1] * 2
    monkeypatch.setattr(convolution, "chunk_bytes", lambda: chunk * per_clip)

    @jax.jit
    def both(kernel):
        out = [
            jax.value_and_grad(lambda k, f=f: (f(tokens, k) * weights).sum())(kernel)
            for f in (convolve, by_xla)
        ]
        return convolve(tokens, kernel), by_xla(tokens, kernel), out

    ours, theirs, ((_, our_grad), (_, their_grad)) = both(kernel)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(our_grad, their_grad, atol=3e-5)


def test_stacked_kernels_are_columns_of_one_product(key):
    tokens = jax.random.normal(key, (2, 4, 3, 5))
    kernels = jax.random.normal(key, (7, 3, 3, 5, 2))
    stacked = jax.vmap(convolve, (None, 0))
    alone = jnp.stack([convolve(tokens, kernel) for kernel in kernels])
    np.testing.assert_allclose(stacked(tokens, kernels), alone, atol=1e-5)
    products = [
        line
        for line in jax.jit(stacked).lower(tokens, kernels).as_text().splitlines()
        if "dot_general" in line
    ]
    assert len(products) == 1
    assert "batching_dims" not in products[0]
