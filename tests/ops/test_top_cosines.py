"""The largest cosines against the plain formula and its autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import max_cosine, top_cosines
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
    rows = bank / jnp.linalg.norm(bank, axis=-1, keepdims=True)
    scores = jnp.einsum("bnd,pd->bpn", unit, rows)
    scores = jnp.sort(jnp.where(mask[:, None], scores, -jnp.inf), descending=True)
    return jnp.where(jnp.isfinite(scores), scores, 0.0)[:, :, :k]


@pytest.mark.parametrize("k", [1, 3, N, N + 2])
def test_equals_plain_formula_and_its_autodiff(k):
    tokens, mask, bank = draw()

    def fused(tokens, mask, bank, k):
        return top_cosines(tokens, inverse_norms(tokens), mask, bank, k=k)

    def loss(f, tokens, bank):
        best = f(tokens, mask, bank, k)
        return jnp.sin(best).sum(), best

    actual, expected = (
        jax.jit(
            lambda t, b: jax.value_and_grad(loss, (1, 2), has_aux=True)(f, t, b)  # noqa: B023
        )(tokens, bank)
        for f in (fused, plain)
    )
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, atol=1e-5), actual, expected
    )


def test_one_is_the_maximum_and_junk_never_counts():
    tokens, mask, bank = draw(jnp.bfloat16)
    norms = inverse_norms(tokens)
    expected = max_cosine(tokens, norms, mask, bank)
    spoilt = jnp.where(mask[:, :, None], tokens, jnp.nan)
    actual = top_cosines(spoilt, inverse_norms(spoilt), mask, bank, k=1)
    assert actual.dtype == jnp.float32
    np.testing.assert_allclose(actual[:, :, 0], expected, atol=1e-6)


def test_zero_tokens_and_zero_prototypes_give_finite_gradients():
    tokens, mask, bank = draw()
    tokens, bank = tokens.at[0].set(0.0), bank.at[2].set(0.0)

    def loss(tokens, bank):
        return top_cosines(tokens, inverse_norms(tokens), mask, bank, k=2).sum()

    for g in jax.jit(jax.grad(loss, (0, 1)))(tokens, bank):
        assert np.isfinite(g).all()
