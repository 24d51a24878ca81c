"""Stands in for clips whose tokens do not exist yet, so that steps can be measured."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from unmute_jax.probes import Probe
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training.data import ProbeData
from unmute_jax.training.setup import Setup


class Zeros(ProbeData):
    """Stands for clips whose tokens do not exist yet; only their sizes are known."""

    def __init__(self, setup: Setup, probe: Probe, count: int):
        """Makes `count` clips of the data set, as `probe` reads them, all zero."""
        steps, _ = setup.encoder.grid(setup.dataset.clip_seconds)
        framewise = setup.settings.frame_rule is not None
        examples = (count, steps) if framewise else (count,)
        classes = len(setup.dataset.classes)
        self.ids, self.events = [""] * count, [()] * count
        self.labels = np.zeros((count, classes), np.float32)
        self.targets = np.zeros((*examples, classes), np.float32)
        self.weights = np.ones(examples, np.float32)
        self.seconds_per_step = setup.encoder.geometry.seconds_per_step
        self._read = functools.partial(zeros_for, setup, probe)
        self._cached, self._on_devices = None, {}

    def read(self, rows: Int[np.ndarray, "B"]) -> Tokens | Summary:
        """What the probe reads of as many clips as there are `rows`, all zero."""
        return self._read(len(rows))


def zeros_for(setup: Setup, probe: Probe, b: int) -> Tokens | Summary:
    """What the probe reads of `b` clips, all zero."""
    t, f = setup.encoder.grid(setup.dataset.clip_seconds)
    d = setup.encoder.num_features
    vector = np.zeros((b, d), np.float32)
    reading = probe.reads(of_steps=setup.settings.frame_rule is not None)
    l, dtype = setup.encoder.num_layers, setup.settings.tokens.dtype
    if reading.kind == "layer_summary":
        no_bands = np.zeros((b, l, 0, d), np.float32)
        return Summary(*[np.zeros((b, l, d), np.float32)] * 4, *[no_bands] * 3)
    if reading.kind == "summary":
        bands = np.zeros((b, f, d), np.float32)
        return Summary(*[vector] * 4, *[bands] * 3)
    wants_layers = reading.kind == "layers"
    is_int8 = dtype == "int8"
    return Tokens(
        patches=np.zeros((b, t, f, d), jnp.dtype(dtype)),
        scales=np.ones((b, t, f), np.float32) if is_int8 else None,
        cls=vector,
        mask=np.ones((b, t), bool),
        inverse_norms=np.ones((b, t, f), np.float32),
        layers=np.zeros((b, l, t, f, d), jnp.dtype(dtype)) if wants_layers else None,
        layer_cls=np.zeros((b, l, d), np.float32) if wants_layers else None,
        layer_scales=(
            np.ones((b, l, t, f), np.float32) if wants_layers and is_int8 else None
        ),
        layer=reading.layer,
    )
