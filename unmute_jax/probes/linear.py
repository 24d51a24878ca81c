"""Maps of fixed statistics: the probes that read no tokens."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.probes.base import Probe, as_summary
from unmute_jax.tokens import Summary, Tokens

Statistic = Literal["cls", "mean"]
Pair = Literal["cls_mean", "bands"]
Activation = Literal["relu", "gelu", "tanh"]

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "tanh": jnp.tanh}


class Linear(Probe):
    """One affine map of one vector per clip; section 3.1 of the paper.

    Attributes:
        input: "cls", the class token (the mean of the tokens for encoders without one),
            as in the paper; or "mean", the mean of the tokens for every encoder.
        normalise: LayerNorm before the map, as in some codes near to the paper; the
            paper itself mentions none.
    """

    input_kind: ClassVar = "summary"

    input: Statistic = "cls"
    normalise: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Statistic)

    @property
    def needs_cls(self) -> bool:
        """Unless it reads the mean."""
        return self.input == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        features = getattr(as_summary(x), self.input)
        return self.classify(self.layer_norm(features) if self.normalise else features)


class Mlp(Probe):
    """Hidden layers on one vector per clip, then an affine map; section 3.1.

    That it reads the class token is known; width, depth and activation of the paper are
    not. The default is one hidden layer as wide as the tokens, with ReLU.

    Attributes:
        input: As for `Linear`.
        hidden_layers: How many.
        width: Of each hidden layer; 0 for that of the tokens.
        activation: "relu", "gelu" or "tanh".
    """

    input_kind: ClassVar = "summary"

    input: Statistic = "cls"
    hidden_layers: int = 1
    width: int = 0
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Statistic)
        self.check_choice("activation", Activation)
        self.check_positive("hidden_layers")
        if self.width != 0:
            self.check_positive("width")

    @property
    def needs_cls(self) -> bool:
        """Unless it reads the mean."""
        return self.input == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        h = jnp.asarray(getattr(as_summary(x), self.input))
        width = self.width or h.shape[-1]
        for i in range(self.hidden_layers):
            h = ACTIVATIONS[self.activation](self.dense(f"hidden_{i}", h, width))
        return self.classify(h)


class LinearC(Probe):
    """One affine map of two or more vectors per clip, joined; section 3.2.

    The paper's definition is not known. These are the readings its figures allow:

    Attributes:
        input: "cls_mean", the class token and the mean of the tokens (the default: what
            a later code of the first author does); or "bands", the means over time of
            all frequency bands.
    """

    input_kind: ClassVar = "summary"

    input: Pair = "cls_mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Pair)

    @property
    def needs_cls(self) -> bool:
        """Unless it reads the bands."""
        return self.input == "cls_mean"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        s = as_summary(x)
        if self.input == "bands":
            return self.classify(join_bands(s))
        return self.classify(jnp.concatenate([s.cls, s.mean], axis=-1))


class Stats(Probe):
    """One affine map of the mean, maximum and standard deviation of the tokens.

    Not in the paper: how far fixed statistics go without a learned pooling.

    Attributes:
        per_band: Take the statistics over time within each frequency band, and join the
            bands: with tokens of the plain spectrogram this is the baseline of log-mel
            statistics.
    """

    input_kind: ClassVar = "summary"

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


def join_bands(summary: Summary) -> Float[Array, "B X"]:
    """The means over time of all frequency bands, `X = F * D`."""
    means = jnp.asarray(summary.band_mean)
    return means.reshape(len(means), -1)
