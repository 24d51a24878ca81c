"""All implementations of the attention agree."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.encoders import attention
from unmute_jax.encoders.attention import (
    _by_jax,
    _heads_first,
    _on_cuda,
    attend,
)


def arrays(*shape):
    rng = np.random.default_rng(0)
    return (jnp.asarray(rng.standard_normal(shape, np.float32)) for _ in "qkv")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_all_implementations_compute_attention(dtype, masked):
    q, k, v = arrays(2, 5, 3, 8)
    keys = jnp.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool) if masked else None
    scores = np.einsum("bqhw,bkhw->bhqk", q, k) * 8**-0.5
    if masked:
        scores = np.where(keys[:, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    wanted = np.einsum("bhqk,bkhw->bqhw", weights, v)
    tolerance = 1e-5 if dtype == jnp.float32 else 3e-2
    with jax.default_matmul_precision("highest"):
        for implementation in (_heads_first, attend):
            got = jax.jit(implementation, static_argnums=4)(q, k, v, keys, dtype)
            assert got.dtype == jnp.float32
            np.testing.assert_allclose(got, wanted, atol=tolerance)
        got = jax.jit(_by_jax, static_argnums=(4, 5))(q, k, v, keys, dtype, "xla")
    np.testing.assert_allclose(got, wanted, atol=tolerance)


@pytest.mark.parametrize("masked", [False, True])
def test_blocks_of_queries_change_nothing(monkeypatch, masked):
    qkv = list(arrays(2, 7, 3, 8))
    keys = jnp.array([[1] * 7, [1, 1, 0, 0, 0, 1, 0]], bool) if masked else None
    whole = jax.jit(_heads_first, static_argnums=4)(*qkv, keys, jnp.float32)
    # Three of the seven queries at a time.
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", 2 * 3 * 7 * 3)
    in_blocks = jax.jit(lambda *a: _heads_first(*a, keys, jnp.float32))
    assert "f32[2,3,7,7]" not in str(jax.make_jaxpr(in_blocks)(*qkv))
    np.testing.assert_allclose(in_blocks(*qkv), whole, atol=1e-6)


@pytest.mark.parametrize(("capability", "is_plain"), [("7.5", True), ("8.0", False)])
def test_gpus_without_bfloat16_get_plain_products(monkeypatch, capability, is_plain):
    gpu = types.SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr(jax, "local_devices", lambda backend: [gpu])

    def preset_products(dtype):
        """The products that ask for an algorithm that not every GPU has."""
        found = jax.make_jaxpr(lambda *qkv: _on_cuda(*qkv, None, dtype))
        return str(found(*arrays(2, 5, 3, 8))).count("BF16_BF16_F32")

    assert (preset_products(jnp.bfloat16) == 0) == is_plain
    assert preset_products(jnp.float32) == 0


def test_a_clip_without_any_key_attends_to_all_alike():
    q, k, v = arrays(1, 4, 2, 8)
    no_key = np.zeros((1, 4), bool)
    got = jax.jit(attend, static_argnums=4)(q, k, v, no_key, jnp.float32)
    mean = np.broadcast_to(np.mean(v, 1, keepdims=True), v.shape)
    np.testing.assert_allclose(got, mean, atol=1e-5)
