"""Clips of zeros that stand in for tokens."""

import jax
import numpy as np
import pytest

from tests.training.fakes import make_setup, settings, store
from unmute_jax import distributed
from unmute_jax.config import ProbeOptions
from unmute_jax.training.data import ProbeData
from unmute_jax.training.zeros import Zeros


@pytest.mark.parametrize("labels", ["clip", "frames"])
@pytest.mark.parametrize(
    ("name", "layers"),
    [
        *(("linear", None), ("protobin", None), ("cgp", None)),
        *(("linear", "0"), ("stats", "learned"), ("protobin", "-1"), ("linear", "all")),
    ],
)
def test_zeros_are_like_the_tokens_that_are_to_come(name, layers, labels):
    options = ProbeOptions(layers=layers)
    made = make_setup(settings(probes=name, labels=labels, probe_options=options))
    probe, rule = made.probes[name], made.settings.frame_rule
    (kept,), kind = made.kept, made.reading(name).kind
    real = ProbeData([store(kept=kept)], kind, frame_rule=rule)
    zeros = Zeros(made, probe, len(real))
    assert len(zeros) == len(real)
    assert zeros.on_devices(distributed.make_mesh(1)) is None

    def sizes(clips):
        targets = clips.targets.astype(np.float32)  # As all do who read them.
        arrays = clips.read(np.arange(3)), clips.labels, targets, clips.weights
        paths, _ = jax.tree.flatten_with_path(arrays)
        return {jax.tree_util.keystr(p): (x.shape, x.dtype) for p, x in paths}

    assert sizes(zeros) == sizes(real)
