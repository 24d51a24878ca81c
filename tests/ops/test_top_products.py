"""The largest products against the plain formula and its autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import max_product, top_products
from unmute_jax.tokens import inverse_norms

B, N, D, P = 4, 6, 8, 5


def draw(dtype=np.float32):
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((B, N, D), np.float32).astype(dtype)
    mask = np.arange(N)[None] < np.array([N, 4, 2, 0])[:, None]
    bank = rng.standard_normal((P, D), np.float32)
    return tuple(map(jnp.asarray, (tokens, mask, bank)))


def plain(tokens, mask, bank, k):
    """The same by sorting all scores."""
    unit = tokens / jnp.linalg.norm(tokens, axis=-1, keepdims=True)
    scores = jnp.einsum("bnd,pd->bpn", unit, bank)
    scores = jnp.sort(jnp.where(mask[:, None], scores, -jnp.inf), descending=True)
    return jnp.where(jnp.isfinite(scores), scores, 0.0)[:, :, :k]


def fused(tokens, mask, bank, k):
    """`top_products` of cosines, up to the norms of the bank."""
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


def test_the_first_is_the_maximum_and_masked_tokens_never_count():
    tokens, mask, bank = draw(jnp.bfloat16)
    expected = max_product(tokens, inverse_norms(tokens), mask, bank)
    spoilt = jnp.where(mask[:, :, None], tokens, jnp.nan)
    actual = np.asarray(jax.jit(fused, static_argnums=3)(spoilt, mask, bank, 1))
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual[:, :, 0], expected, atol=1e-6)


def test_zero_tokens_give_finite_gradients():
    tokens, mask, bank = draw()
    tokens = tokens.at[0].set(0.0)
    grad = jax.jit(jax.grad(lambda t, b: fused(t, mask, b, 2).sum(), (0, 1)))
    for g in grad(tokens, bank):
        assert np.isfinite(g).all()
