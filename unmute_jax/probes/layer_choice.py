"""The option `layers` of probes, which can read other layers than the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import InputError
from unmute_jax.probes.base import (
    Probe,
    Reading,
    as_summary,
    as_tokens,
    einsum,
    not_summary,
)
from unmute_jax.probes.layers import all_layers, mix_unit_tokens, raw_layers
from unmute_jax.tokens import (
    Summary,
    Tokens,
    inverse_norms,
    layer_number,
    summarise,
    summarise_layers,
)

CHOICES = ("last", "all", "learned")


class LayeredProbe(Probe):
    """A probe that reads the last layer, another one, or all layers.

    One layer is read as the encoder returns it. Where several layers are read, their
    sizes are made equal first, because the tokens of some layers are far larger than
    those of others: each vector is scaled to unit norm, and multiplied by the root of
    its number of features, so that entries are about 1 in size. The factor is the only
    difference from the weighted mean of `Cgp`, which has none; with it, learning rates
    mean the same as for the last layer.

    Attributes:
        layers: The layers that are read. "last": what the encoder returns, after its
            final normalisation if it has one. A number, such as 0 or -1: the output of
            one block, counted from the first or from the last, before any final
            normalisation. "learned": the mean of all blocks with learned weights, as in
            `Cgp`: probes of tokens read the mean of the tokens, and probes of a vector
            per clip the mean of the vectors of the blocks. "all": all blocks side by
            side: probes of tokens read the tokens of all blocks as positions of one
            clip, and probes of a vector per clip the concatenated vectors of the
            blocks.
    """

    layers: str | int = "last"

    def __post_init__(self) -> None:
        # Flax does not allow this after its own `__post_init__`.
        self.layers = _canonical(type(self).__name__, self.layers)
        super().__post_init__()

    @property
    def layer_index(self) -> int | None:
        """The number of the layer, as it was given; None where no number was."""
        return None if self.layers in CHOICES else int(self.layers)

    def reads(self, *, of_steps: bool = False) -> Reading:
        """What the probe reads as its options are set; see `Probe.reads`."""
        plain = super().reads(of_steps=of_steps)
        if self.layers == "last":
            return plain
        if plain.kind == "summary":
            return Reading("layer_summary")
        if self.layer_index is None:
            return Reading("layers")
        return Reading("tokens", self.layer_index)

    def fitted_to(self, layers: int, encoder: str) -> Probe:
        """The same probe, with a layer that is counted from the first.

        See `Probe.fitted_to`.
        """
        super().fitted_to(layers, encoder)
        if self.layer_index is None:
            return self
        return self.clone(layers=str(layer_number(self.layer_index, layers)))

    def gates(self, x: Tokens | Summary) -> Float[Array, "L"] | None:
        """The parameter whose softmax weighs the layers, where weights are learned.

        To be called inside a compact `__call__`.
        """
        if self.layers != "learned":
            return None
        is_summary = isinstance(x, Summary) and x.is_of_layers
        cls = x.cls if is_summary else raw_layers(x)[1]
        return jnp.asarray(self.param("gates", nn.initializers.zeros, cls.shape[1:2]))

    def tokens_of(self, x: Tokens | Summary, gates: Float[Array, "L"] | None) -> Tokens:
        """The tokens of the layers that are read, with inverse norms.

        With layers="all", they are those of all layers one after the other along the
        time axis, as large as the encoder returns them.

        Args:
            x: The tokens of the last layer, of the chosen one, or of all layers.
            gates: The parameter that `gates` returns.

        Raises:
            InputError: `x` does not have the tokens that are needed.
        """
        if self.layers == "last":
            return as_tokens(x)
        if (index := self.layer_index) is not None:
            return _one_layer(not_summary(x), index).with_inverse_norms()
        if self.layers == "all":
            return _side_by_side(not_summary(x)).with_inverse_norms()
        layers, layer_cls, _ = all_layers(x)
        assert gates is not None
        share, size = jax.nn.softmax(gates), layers.shape[-1] ** 0.5
        mixed = Tokens(
            patches=mix_unit_tokens(layers, share) * size,
            cls=mix_unit_tokens(layer_cls, share) * size,
            mask=not_summary(x).mask,
        )
        return mixed.with_inverse_norms()

    def vector_of(
        self, x: Tokens | Summary, vector: Callable[[Summary], Float[Array, "*S X"]]
    ) -> Float[Array, "B X"]:
        """The vector of each clip that a probe of fixed statistics reads.

        To be called inside a compact `__call__`.

        Args:
            x: The input of the probe.
            vector: Makes the vector of a clip from its summary, and those of all
                layers from the summary of all layers.
        """
        if self.layers == "last":
            return vector(as_summary(x))
        index = self.layer_index
        if self.reads().kind != "layer_summary":
            x = not_summary(x)
        if isinstance(x, Tokens):
            if index is not None:
                return vector(summarise(_one_layer(x, index)))
            x = summarise_layers(x)
        if not x.is_of_layers:
            raise InputError(
                f"layers={self.layers} needs a summary of every layer, and this is "
                "that of the last layer"
            )
        vectors = vector(x)
        if index is not None:
            return vectors[:, layer_number(index, vectors.shape[1])]
        vectors = unit_size(vectors)
        if self.layers == "all":
            return vectors.reshape(len(vectors), -1)
        gates = self.gates(x)
        assert gates is not None
        return einsum("blx,l->bx", vectors, jax.nn.softmax(gates))


def unit_size(x: Float[Array, "*S X"]) -> Float[Array, "*S X"]:
    """Vectors that are scaled until the root mean square of their entries is 1."""
    return x * (inverse_norms(x) * x.shape[-1] ** 0.5)[..., None]


def _canonical(probe: str, layers: str | int) -> str:
    text = str(layers)
    if text in CHOICES:
        return text
    try:
        # `int` would accept 1.5 and True.
        return str(int(text))
    except ValueError:
        raise InputError(
            f"{probe}: layers must be {', '.join(CHOICES)} or the number of a layer, "
            f"such as 0 for the first or -1 for the last, not {layers!r}"
        ) from None


def _one_layer(x: Tokens, index: int) -> Tokens:
    """The tokens of a layer, from those of all layers or of this one."""
    if x.layer is None:
        x = x.of_layer(index)
    elif x.layer != index:
        raise InputError(
            f"this probe reads layer {index}, and these are the tokens of layer "
            f"{x.layer}"
        )
    return dataclasses.replace(x, layer=None)


def _side_by_side(x: Tokens) -> Tokens:
    """The tokens of all layers as those of one clip, `L * T` time steps long."""
    layers, _ = raw_layers(x)
    b, l, t, f, d = layers.shape
    return Tokens(
        patches=jnp.asarray(layers).reshape(b, l * t, f, d),
        cls=x.cls,
        mask=jnp.tile(jnp.asarray(x.mask), (1, l)),
    )
