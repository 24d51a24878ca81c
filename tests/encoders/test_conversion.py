"""A converted weights file is the same encoder as the file that was published."""

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.test_parity import cases
from unmute_jax.encoders import load_encoder, with_weights
from unmute_jax.encoders.conversion import convert
from unmute_jax.weights.files import read_weights


def files():
    """The first case of every golden weights file."""
    found = cases(["input", "spectrogram", "waveform"])
    unique = {param.values[0]["weights"]: param.values[0] for param in found}
    return [pytest.param(case, id=name) for name, case in unique.items()]


@pytest.mark.parametrize("case", files())
def test_a_converted_file_is_the_same_encoder(case, tmp_path):
    source, output = case["folder"] / case["weights"], tmp_path / "out.safetensors"
    name, heads = case["encoder"], case["num_heads"]
    convert(with_weights(name), source, output, heads)
    want = load_encoder(name, source, num_heads=heads)
    got = load_encoder(name, output)
    assert got.identity() == want.identity()
    assert got.weights == f"sha256:{read_weights(source).sha256}"
    assert (got.network, got.licence) == (want.network, want.licence)
    assert got.classes == want.classes
    jax.tree.map(np.testing.assert_array_equal, got.params, want.params)
    assert [file.name for file in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize("name", ["eat", "beats", "dasheng"])
def test_the_tokens_are_the_same_bit_for_bit(name, tmp_path):
    source, output = golden.ENCODERS / f"{name}_tiny.pt", tmp_path / "out.safetensors"
    convert(with_weights(name), source, output)
    clip = np.random.default_rng(0).standard_normal((1, 16000), np.float32) / 10
    want, got = (load_encoder(name, file)(clip) for file in (source, output))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_array_equal(a, b)
