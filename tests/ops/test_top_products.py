"""The largest products against the plain formula and its autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import max_product, top_products
from unmute_jax.tokens import inverse_norms

B, N, D, P = 4, 6, 8, 5


def draw(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 3)
    tokens = jax.random.normal(keys[0], (B, N, D)).astype(dtype)
    mask = jnp.arange(N)[None] < jnp.array([N, 4, 2, 0])[:, None]
    return tokens, mask, jax.random.normal(keys[1], (P, D))


def plain(tokens, mask, bank, k):
    """By sorting all scores."""
    unit = tokens / jnp.linalg.norm(tokens, axis=-1, keepdims=True)
    scores = jnp.einsum("bnd,pd->bpn", unit, bank)
    scores = jnp.sort(jnp.where(mask[:, None], scores, -jnp.inf), descending=True)
    return jnp.where(jnp.isfinite(scores), scores, 0.0)[:, :, :k]


def fused(tokens, mask, bank, k):
    return top_products(tokens, inverse_norms(tokens), mask, bank, k=k)


@pytest.mark.parametrize("k", [1, 3, N, N + 2])
def test_equals_plain_formula_and_its_autodiff(k):
    tokens, mask, bank = draw()

    def graded(f):
        def loss(tokens, bank):
            best = f(tokens, mask, bank, k)
            return jnp.sin(best).sum(), best

        return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(tokens, bank)

    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5),
        graded(fused),
        graded(plain),
    )


def test_one_is_the_maximum_and_junk_never_counts():
    tokens, mask, bank = draw(jnp.bfloat16)
    expected = max_product(tokens, inverse_norms(tokens), mask, bank)
    spoilt = jnp.where(mask[:, :, None], tokens, jnp.nan)
    actual = fused(spoilt, mask, bank, 1)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual[:, :, 0], expected, atol=1e-6)


def test_zero_tokens_give_finite_gradients():
    tokens, mask, bank = draw()
    grad = jax.jit(jax.grad(lambda t, b: fused(t, mask, b, 2).sum(), (0, 1)))
    for g in grad(tokens.at[0].set(0.0), bank):
        assert np.isfinite(g).all()
