"""Probes of fixed statistics of the tokens, which need only their summary."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.probes.base import Probe, Reading, VectorProbe, as_summary
from unmute_jax.probes.layer_choice import LayeredProbe
from unmute_jax.tokens import Summary, Tokens

JoinedInput = Literal["cls_mean", "bands"]
Activation = Literal["relu", "gelu", "tanh"]

ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "tanh": jnp.tanh}


class Linear(LayeredProbe, VectorProbe):
    """An affine map of one vector per clip; section 3.1 of the paper.

    The paper's vector is the class token of the last layer. The option `layers` is that
    of `LayeredProbe`.

    Attributes:
        normalise: Whether a LayerNorm comes before the map, as in some public code
            close to the paper; the paper itself mentions none.
    """

    input_kind: ClassVar = "summary"

    normalise: bool = False

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        features = self.vector_of(x, lambda s: jnp.asarray(getattr(s, self.input)))
        return self.classify(self.layer_norm(features) if self.normalise else features)


class Mlp(VectorProbe):
    """Hidden layers on one vector per clip, then an affine map; section 3.1.

    The paper reads the class token but does not state width, depth and activation. The
    default is one hidden layer as wide as the tokens, with ReLU.

    Attributes:
        hidden_layers: The number of hidden layers.
        width: The width of each hidden layer; 0 for the width of the tokens.
        activation: The activation: "relu", "gelu" or "tanh".
    """

    input_kind: ClassVar = "summary"

    hidden_layers: int = 1
    width: int = 0
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("activation", Activation)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        h = jnp.asarray(getattr(as_summary(x), self.input))
        width = self.width or h.shape[-1]
        for i in range(self.hidden_layers):
            h = ACTIVATIONS[self.activation](self.dense(f"hidden_{i}", h, width))
        return self.classify(h)


class LinearC(Probe):
    """An affine map of two or more concatenated vectors per clip; section 3.2.

    The paper does not define it. The options are the readings that its figures allow.

    Attributes:
        input: The vectors: "cls_mean", the class token and the mean of the tokens (the
            default, as in later code of the first author); or "bands", the means over
            time of all frequency bands.
    """

    input_kind: ClassVar = "summary"

    input: JoinedInput = "cls_mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", JoinedInput)

    @property
    def needs_cls(self) -> bool:
        """Whether the class token is among the vectors."""
        return self.input == "cls_mean"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        s = as_summary(x)
        if self.input == "bands":
            return self.classify(join_bands(s))
        return self.classify(jnp.concatenate([s.cls, s.mean], axis=-1))


class Stats(LayeredProbe):
    """An affine map of the mean, maximum and standard deviation of the tokens.

    It is not in the paper. It shows how far fixed statistics go without learned
    pooling. The option `layers` is that of `LayeredProbe`.

    Attributes:
        per_band: Whether the statistics are those over time within each frequency band,
            concatenated. With the plain spectrogram as tokens, this is the baseline of
            log-mel statistics.
    """

    input_kind: ClassVar = "summary"

    per_band: bool = False

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        return self.classify(self.vector_of(x, self.joined))

    def reads(self, *, of_steps: bool = False) -> Reading:
        """What the probe reads as its options are set; see `Probe.reads`."""
        # Stored summaries of layers leave out the bands, which take the most room.
        bands_of_layers = self.per_band and self.layers != "last"
        return super().reads(of_steps=of_steps or bands_of_layers)

    def joined(self, s: Summary) -> Float[Array, "*S X"]:
        """The three statistics of a clip, or of each layer of it, concatenated."""
        if not self.per_band:
            return jnp.concatenate([s.mean, s.max, s.std], axis=-1)
        bands = jnp.stack([s.band_mean, s.band_max, s.band_std], axis=-3)
        return bands.reshape(*bands.shape[:-3], -1)


def join_bands(summary: Summary) -> Float[Array, "B X"]:
    """The means over time of all frequency bands, concatenated; `X = F * D`."""
    means = jnp.asarray(summary.band_mean)
    return means.reshape(len(means), -1)
