"""The convolution by one product and shifted sums against that of XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from unmute_jax.ops import convolution, convolve


def draw(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


def by_xla(tokens, kernel):
    return lax.conv_general_dilated(
        tokens,
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


# An odd and an even kernel, one larger than the map and one with a single entry; with
# chunks of two clips, of which the last is ragged, and with all clips at once.
@pytest.mark.parametrize(
    ("window", "chunk"), [((3, 3), 2), ((2, 4), 2), ((7, 5), 100), ((1, 1), 100)]
)
def test_values_and_gradients_are_those_of_a_convolution(window, chunk, monkeypatch):
    tokens, kernel, weights = draw(5, 6, 3, 4), draw(*window, 4, 2), draw(5, 6, 3, 2)
    per_clip = 4 * 6 * 3 * window[0] * window[1] * 2
    monkeypatch.setattr(convolution, "chunk_bytes", lambda: chunk * per_clip)

    def graded(f):
        def loss(kernel):
            out = f(tokens, kernel)
            return (out * weights).sum(), out

        (_, out), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(kernel)
        return out, gradient

    (ours, our_gradient), (theirs, their_gradient) = graded(convolve), graded(by_xla)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(our_gradient, their_gradient, atol=3e-5)


def test_stacked_kernels_are_columns_of_one_product():
    tokens, kernels = draw(2, 4, 3, 5), draw(3, 3, 3, 5, 2)
    stacked = jax.jit(jax.vmap(convolve, (None, 0)))
    one = jax.jit(convolve)
    alone = np.stack([one(tokens, kernel) for kernel in kernels])
    np.testing.assert_allclose(stacked(tokens, kernels), alone, atol=1e-5)
    products = [
        line
        for line in stacked.lower(tokens, kernels).as_text().splitlines()
        if "dot_general" in line
    ]
    assert len(products) == 1
    assert "batching_dims" not in products[0]
