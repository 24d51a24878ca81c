"""Affine maps of fixed statistics: the probes that read no tokens."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import unknown_name
from unmute_jax.probes.base import Probe, as_summary
from unmute_jax.tokens import Summary, Tokens

Statistic = Literal["cls", "mean"]


class Linear(Probe):
    """One affine map of one vector per clip; section 3.1 of the paper.

    Attributes:
        input: "cls", the class token (the mean of the tokens for encoders without one),
            as in the paper; or "mean", the mean of the tokens for every encoder.
    """

    reads: ClassVar = "summary"

    input: Statistic = "cls"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input not in get_args(Statistic):
            raise unknown_name("input of Linear", self.input, get_args(Statistic))

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        return self.classify(getattr(as_summary(x), self.input))


class Stats(Probe):
    """One affine map of the mean, maximum and standard deviation of the tokens.

    Not in the paper: how far fixed statistics go without a learned pooling.

    Attributes:
        per_band: Take the statistics over time within each frequency band, and join the
            bands: with tokens of the plain spectrogram this is the baseline of log-mel
            statistics.
    """

    reads: ClassVar = "summary"

    per_band: bool = False

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        s = as_summary(x)
        parts = (s.mean, s.max, s.std)
        if self.per_band:
            parts = (s.band_mean, s.band_max, s.band_std)
        return self.classify(
            jnp.concatenate([p.reshape(len(p), -1) for p in parts], axis=-1)
        )
