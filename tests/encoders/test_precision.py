"""Products in bfloat16: a little less exact, by as much as is said, and no secret."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.test_conformance import RATE, tiny
from tests.encoders.test_parity import cases, load, spectrogram_name
from unmute_jax.encoders import list_encoders, load_encoder
from unmute_jax.encoders.attention import _by_jax, _heads_first, attend
from unmute_jax.errors import InputError

NETWORKS = [name for name in list_encoders() if name != "logmel"]


@pytest.mark.parametrize(("case", "given"), cases())
def test_tokens_in_bfloat16_are_near_those_of_the_reference(case, given):
    inputs = golden.read(golden.ENCODERS / case.get("inputs_from", case["arrays"]))
    spectrogram = inputs[spectrogram_name(given)]
    if spectrogram.ndim == 4:
        spectrogram = spectrogram[:, 0]
    elif case["encoder"] == "dasheng":
        spectrogram = spectrogram.swapaxes(1, 2)
    exact = np.asarray(load(case).encode(spectrogram).patches)
    rough = load(case, precision="bfloat16").encode(spectrogram).patches
    assert rough.dtype == jnp.float32
    error = np.sqrt(np.square(rough - exact).mean() / np.square(exact).mean())
    # Between 0.1 % and 2 % with the weights at hand, which are random in every tensor.
    assert 1e-5 < error < 5e-2


@pytest.mark.parametrize("name", NETWORKS)
def test_another_precision_is_another_encoder(name):
    exact, rough = tiny(name), tiny(name, precision="bfloat16")
    assert "float32" in exact.identity()["precision"]
    differs = {k for k, v in exact.identity().items() if rough.identity()[k] != v}
    assert differs == {"precision"}
    clip = np.random.default_rng(0).standard_normal((1, RATE), np.float32)
    tokens = rough(clip, all_layers=True)
    assert tokens.layers.dtype == tokens.patches.dtype == jnp.float32
    assert np.abs(tokens.patches - exact(clip).patches).max() > 0


def test_precisions_are_checked():
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        tiny("eat", precision="bfloat")
    with pytest.raises(InputError, match="logmel"):
        load_encoder("logmel", precision="bfloat16")


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_all_ways_to_attend_agree(dtype, masked):
    rng = np.random.default_rng(0)
    q, k, v = (
        jnp.asarray(rng.standard_normal((2, 5, 3, 8), np.float32)) for _ in "qkv"
    )
    keys = jnp.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool) if masked else None
    scores = np.einsum("bqhw,bkhw->bhqk", q, k) * 8**-0.5
    if masked:
        scores = np.where(keys[:, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    wanted = np.einsum("bhqk,bkhw->bqhw", weights, v)
    tolerance = 1e-5 if dtype == jnp.float32 else 3e-2
    with jax.default_matmul_precision("highest"):
        for way in (_heads_first, attend):
            got = jax.jit(way, static_argnums=4)(q, k, v, keys, dtype)
            assert got.dtype == jnp.float32
            np.testing.assert_allclose(got, wanted, atol=tolerance)
        got = _by_jax(q, k, v, keys, dtype, "xla")
    np.testing.assert_allclose(got, wanted, atol=tolerance)


def test_without_any_key_all_are_alike():
    rng = np.random.default_rng(0)
    q, k, v = (
        jnp.asarray(rng.standard_normal((1, 4, 2, 8), np.float32)) for _ in "qkv"
    )
    got = attend(q, k, v, jnp.zeros((1, 4), bool), jnp.float32)
    mean = np.broadcast_to(v.mean(1, keepdims=True), v.shape)
    np.testing.assert_allclose(got, mean, atol=1e-5)
