"""A module with the interface of HEAR 2021, as users might have one, in NumPy."""

import sys
import types

import numpy as np

from tests.encoders.custom_encoders import BINS, HOP, RATE, Spectral

__version__ = "2021.1"
GAIN = 1.0


def load_model(model_file_path="", bins=2 * BINS):
    gain = float(np.loadtxt(model_file_path)) if model_file_path else GAIN
    return types.SimpleNamespace(
        sample_rate=RATE,
        scene_embedding_size=bins,
        timestamp_embedding_size=bins,
        gain=gain,
    )


def get_timestamp_embeddings(audio, model):
    x = model.gain * Spectral.spectra(np.asarray(audio))
    x = x.reshape(*x.shape[:2], -1)[..., : model.timestamp_embedding_size]
    centres = (np.arange(x.shape[1]) + 0.5) * 1000 * HOP / RATE
    return x, np.tile(centres, (len(x), 1))


def register(monkeypatch, **changes):
    """Makes a module with some other names importable; returns its encoder's name."""
    module = types.ModuleType("a_variant")
    vars(module).update({**globals(), "__name__": "a_variant", **changes})
    monkeypatch.setitem(sys.modules, "a_variant", module)
    return "hear:a_variant"
