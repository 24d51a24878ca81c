"""Models of PyTorch and TensorFlow get tensors, and their tensors become arrays."""

import sys
import types

import numpy as np
import pytest

from tests import fake_torch
from tests.encoders import hear_module
from tests.encoders.custom_encoders import RATE, Spectral
from unmute_jax import load_encoder


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal((3, 2 * RATE), np.float32) / 10


def wanted(waveform):
    spectra = Spectral.spectra(waveform)
    return spectra.reshape(*spectra.shape[:2], 1, -1)


@pytest.mark.parametrize("cuda", [False, True])
def test_a_torch_module_gets_tensors_on_its_device(monkeypatch, waveform, cuda):
    torch = fake_torch.make_torch(cuda=cuda)
    monkeypatch.setitem(sys.modules, "torch", torch)

    class Model(torch.nn.Module):
        sample_rate = RATE

    def embeddings(audio, model):
        assert isinstance(audio, torch.Tensor)
        assert audio.device == model.device == ("cuda" if cuda else "cpu")
        assert not model.training
        assert not torch.grad_enabled
        x = wanted(audio.cpu().numpy())[:, :, 0]
        times = np.tile(np.arange(x.shape[1]) * 100, (len(x), 1))
        x, times = torch.from_numpy(x).bfloat16(), torch.from_numpy(times)
        x.grad = True
        return x.to(audio.device), times.to(audio.device)

    name = hear_module.register(
        monkeypatch,
        load_model=lambda path="": Model(),
        get_timestamp_embeddings=embeddings,
    )
    tokens = load_encoder(name)(waveform)
    np.testing.assert_allclose(tokens.patches, wanted(waveform), rtol=2**-8)


def test_a_module_of_tensorflow_gets_tensors(monkeypatch, waveform):
    class Module:
        sample_rate = RATE

    tensorflow = types.ModuleType("tensorflow")
    tensorflow.Module, tensorflow.convert_to_tensor = Module, lambda x: ("tensor", x)
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    model = hear_module.load_model()

    def embeddings(audio, _):
        assert audio[0] == "tensor"
        return hear_module.get_timestamp_embeddings(audio[1], model)

    name = hear_module.register(
        monkeypatch,
        load_model=lambda path="": Module(),
        get_timestamp_embeddings=embeddings,
    )
    np.testing.assert_array_equal(
        load_encoder(name)(waveform).patches, wanted(waveform)
    )


@pytest.mark.parametrize("name", ["a_variant", "tests.encoders.hear_module"])
def test_the_version_is_that_of_the_module_or_else_unknown(monkeypatch, name):
    hear_module.register(monkeypatch, __version__=None)
    encoder = load_encoder(f"hear:{name}")
    known = name != "a_variant"
    assert encoder.settings["version"] == ("2021.1" if known else "not said")
