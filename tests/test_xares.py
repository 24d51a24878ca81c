"""Encoders of this package for X-ARES, with a stand-in for PyTorch."""

import importlib
import sys

import numpy as np
import pytest

from tests import fake_torch
from unmute_jax import load_encoder


@pytest.fixture
def xares(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", fake_torch.make_torch())
    # The module is imported anew, and not kept for tests that have no such PyTorch.
    monkeypatch.delitem(sys.modules, "unmute_jax.xares", raising=False)
    yield importlib.import_module("unmute_jax.xares")
    sys.modules.pop("unmute_jax.xares", None)


def test_an_encoder_gives_what_the_checker_of_x_ares_asks_for(xares):
    class LogmelEncoder(xares.UnmuteEncoder):
        def __init__(self):
            super().__init__("logmel", bands="concatenate")

    encoder = LogmelEncoder()
    noise = np.random.default_rng(0).standard_normal((2, 50000), np.float32)
    out = encoder(fake_torch.Tensor(noise, device="cuda"))
    tokens = load_encoder("logmel")(noise)
    assert out.device == "cuda"
    assert out.shape == (2, tokens.patches.shape[1], encoder.output_dim)
    np.testing.assert_allclose(out.array, tokens.patches.reshape(*out.shape), atol=1e-6)
    assert (encoder.sampling_rate, encoder.hop_size_in_ms) == (16000, 160)


def test_the_module_has_one_name_that_x_ares_takes_for_an_encoder(xares):
    # X-ARES refuses files with several names that end so.
    assert [n for n in dir(xares) if n.endswith("Encoder")] == ["UnmuteEncoder"]
