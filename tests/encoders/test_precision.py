"""Products in bfloat16: their error is as stated, and they are part of the key."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.test_conformance import NETWORKS, RATE, tiny
from tests.encoders.test_parity import cases, load, spectrogram_of
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError


def first_cases():
    """The first input of the first file of every encoder."""
    found = {}
    for param in cases(["input", "spectrogram"]):
        found.setdefault(param.values[0]["encoder"], param)
    return list(found.values())


@pytest.mark.parametrize(("case", "given"), first_cases())
def test_tokens_in_bfloat16_are_near_those_of_the_reference(case, given):
    spectrogram = spectrogram_of(case, given)
    rough = load(case, precision="bfloat16").encode(spectrogram).patches
    rough = np.asarray(rough)
    assert rough.dtype == np.float32
    arrays = golden.read(case["folder"] / case["arrays"])
    exact = arrays[given["patches"]].reshape(rough.shape)
    error = np.sqrt(np.square(rough - exact).mean() / np.square(exact).mean())
    # Between 0.1 % and 2 % with the weights at hand, which are random in every tensor.
    assert 1e-5 < error < 5e-2


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "logmel"])
def test_another_precision_is_another_encoder(name):
    exact, rough = tiny(name), tiny(name, precision="bfloat16")
    assert "float32" in exact.identity()["precision"]
    differs = {k for k, v in exact.identity().items() if rough.identity()[k] != v}
    assert differs == {"precision"}
    clip = np.random.default_rng(0).standard_normal((1, RATE), np.float32)
    tokens = rough(clip, all_layers=True)
    assert tokens.layers.dtype == tokens.patches.dtype == jnp.float32
    assert not np.array_equal(tokens.patches, exact(clip).patches)


def test_precisions_are_checked():
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        tiny("eat", precision="bfloat")
    with pytest.raises(InputError, match="logmel"):
        load_encoder("logmel", precision="bfloat16")
