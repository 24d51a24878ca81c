"""Encoders of this package as a HEAR module, with a stand-in for PyTorch."""

import importlib
import sys

import numpy as np
import pytest

from tests import fake_torch
from unmute_jax import load_encoder
from unmute_jax.errors import InputError


@pytest.fixture
def hear(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch.make_torch())
    # The module is imported anew, and not kept for tests that have no such PyTorch.
    monkeypatch.delitem(sys.modules, "unmute_jax.hear", raising=False)
    yield importlib.import_module("unmute_jax.hear")
    sys.modules.pop("unmute_jax.hear", None)


@pytest.fixture
def audio():
    noise = np.random.default_rng(0).standard_normal((3, 16000), np.float32) / 10
    return fake_torch.Tensor(noise, device="cuda")


def test_the_functions_give_what_the_validator_of_hear_asks_for(hear, audio):
    model = hear.load_model("logmel")
    assert model.sample_rate == 16000
    steps, times = hear.get_timestamp_embeddings(audio, model)
    clips = hear.get_scene_embeddings(audio, model)
    assert steps.device == times.device == clips.device == "cuda"
    tokens = load_encoder("logmel")(audio.array)
    t = tokens.patches.shape[1]
    assert (steps.array.dtype, clips.array.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(steps.array, tokens.patches.mean(2), atol=1e-6)
    np.testing.assert_allclose(clips.array, tokens.cls, atol=1e-6)
    assert steps.shape == (3, t, model.timestamp_embedding_size)
    assert clips.shape == (3, model.scene_embedding_size)
    np.testing.assert_allclose(times.array, [80 + 160 * np.arange(t)] * 3)


def test_encoder_and_weights_are_named_in_the_path_or_as_options(
    hear, audio, tmp_path, monkeypatch
):
    by_path = hear.load_model("eat:untrained", width=16, depth=1, num_heads=2)
    by_option = hear.load_model(
        "untrained", "eat", width=16, depth=1, num_heads=2, bands="concatenate"
    )
    assert by_path.timestamp_embedding_size == 16
    assert by_option.timestamp_embedding_size == 8 * 16
    np.testing.assert_array_equal(
        hear.get_scene_embeddings(audio, by_path).array,
        hear.get_scene_embeddings(audio, by_option).array,
    )
    with pytest.raises(InputError, match=r"gone\.pt"):
        hear.load_model(f"eat:{tmp_path}/gone.pt")


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "name an encoder of unmute_jax"), ("logmal", "did you mean 'logmel'")],
)
def test_a_path_that_names_no_encoder_is_refused(hear, path, message):
    with pytest.raises(InputError, match=message):
        hear.load_model(path)
