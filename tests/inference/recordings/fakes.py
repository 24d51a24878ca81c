"""A probe with random parameters, for an encoder that is one matrix."""

import functools

import jax
import numpy as np
import soundfile as sf

from tests.store.fakes import RATE, D, F, T, fake_encoder
from tests.training.fakes import settings, tones
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.windows import RecordingFile
from unmute_jax.probes import make_probe, probe_options
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.key import as_json
from unmute_jax.tokens import Tokens

__all__ = ["RATE", "F", "T"]

# The number of layers of that encoder.
L = 2


def fake_trained(name="protobin", seed=0, **changes):
    """A probe with random parameters for the classes ash, birch and cedar."""
    encoder, dataset, chosen = fake_encoder(), tones(), settings()
    probe = make_probe(name, num_classes=3)
    tokens = Tokens(
        patches=np.zeros((1, T, F, D), np.float32),
        cls=np.zeros((1, D), np.float32),
        mask=np.ones((1, T), bool),
        layers=np.zeros((1, L, T, F, D), np.float32),
        layer_cls=np.zeros((1, L, D), np.float32),
    )
    shapes = jax.eval_shape(probe.init, jax.random.key(0), tokens)["params"]
    rng = np.random.default_rng(seed)
    facts = {
        "name": name,
        "options": {o: getattr(probe, o) for o in sorted(probe_options(name))},
        "params": jax.tree.map(
            lambda x: rng.standard_normal(x.shape, np.float32), shapes
        ),
        "normaliser": None,
        "classes": dataset.classes,
        "task": dataset.task,
        "encoder": as_json(encoder.identity()),
        "encoder_description": encoder.description,
        "geometry": encoder.geometry,
        "dtype": "bfloat16",
        "dataset": dataset.name,
        "protocol": "official split",
        "clip_seconds": dataset.clip_seconds,
        "seed": seed,
        "validation": 0.5,
        "settings": chosen.to_dict(),
    }
    return TrainedProbe(**{**facts, **changes})


@functools.cache
def fake_predictor(name="protobin", task="multi-label", labels="clip"):
    """The only predictor of its kind, so that it is compiled once."""
    chosen = settings(labels=labels).to_dict()
    trained = fake_trained(name, task=task, settings=chosen)
    return Predictor(trained, fake_encoder(), batch_size=4)


def save(folder, name, seconds, seed=0, rate=2 * RATE):
    """Writes a recording of noise."""
    rng = np.random.default_rng(seed)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.1 * rng.standard_normal(round(seconds * rate), np.float32)
    sf.write(path, noise, rate, subtype="FLOAT")
    return RecordingFile(path=path, name=name)
