"""Random protobins that can be exported, and tokens for them."""

import jax
import numpy as np

from tests.store.fakes import fake_encoder
from unmute_jax.probes import make_probe
from unmute_jax.results.trained import TrainedProbe
from unmute_jax.store.key import as_json
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.tokens import Tokens

D, CLASSES = 19, ("ash", "birch", "cedar")


def random_tokens(b=4, t=5, f=3, d=D, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((b, t, f, d)).astype(np.float32) + 0.3
    # A token of zeros, a short clip, and a clip without any token.
    x[0, 0, 0] = 0
    mask = np.ones((b, t), bool)
    mask[1, 2:] = False
    mask[2] = False
    return Tokens(patches=x, cls=x.mean((1, 2)), mask=mask)


def trained(*, standardise=False, task="multi-label", d=D, per_class=4, **changes):
    tokens = random_tokens(d=d)
    probe = make_probe("protobin", num_classes=3, prototypes_per_class=per_class)
    params = jax.jit(probe.init)(jax.random.key(1), tokens)["params"]
    params = jax.device_get(params)
    # A weight of exactly zero counts as +1.
    params["prototypes"] = np.where(
        np.arange(d) == 7, np.float32(-0.0), params["prototypes"]
    )
    normaliser = None
    if standardise:
        mean = np.linspace(-1, 1, d, dtype=np.float32)
        sd = np.linspace(0.5, 2, d, dtype=np.float32)
        normaliser = FeatureNormaliser.of_tokens(mean, sd)
    encoder = fake_encoder()
    facts = {
        "name": "protobin",
        "options": {"prototypes_per_class": per_class},
        "params": params,
        "normaliser": normaliser,
        "classes": CLASSES,
        "task": task,
        "encoder": as_json(encoder.identity()),
        "encoder_description": encoder.description,
        "geometry": encoder.geometry,
        "dtype": "bfloat16",
        "dataset": "trees",
        "protocol": "official split",
        "clip_seconds": 1.0,
        "seed": 0,
        "validation": 0.5,
        "settings": {},
    }
    return TrainedProbe(**{**facts, **changes})
