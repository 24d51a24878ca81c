"""Probes that read all layers of an encoder: CGP, its linear variant and Head2Toe."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.errors import InputError
from unmute_jax.ops import NORM_EPS, min_mean_max
from unmute_jax.probes.base import (
    Probe,
    Statistic,
    VectorProbe,
    einsum,
    flat_mask,
    not_summary,
    uniform_init,
)
from unmute_jax.tokens import Summary, Tokens, inverse_norms

LassoGroup = Literal["feature", "layer"]


class Cgp(Probe):
    """Convex gated probing: prototypes on a learned weighted mean of the layers.

    The tokens and the class token of each layer are scaled to unit norm and then
    averaged with the weights `softmax(gates)`; the average is not scaled again. Every
    unit prototype gives three features: its smallest product with a position, its
    product with the class token, and its largest product with a position. An affine map
    follows.

    Source: Ghaffari et al., "BAT", ICML 2026. Differs from it: no dropout.

    Attributes:
        num_prototypes: The total number of prototypes, whatever the number of classes.
        middle: The second feature: "cls", as above; or "mean", the mean product with
            the positions, for encoders without a class token.
    """

    input_kind: ClassVar = "layers"

    num_prototypes: int = 10_000
    middle: Statistic = "cls"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_prototypes")
        self.check_choice("middle", Statistic)

    @property
    def needs_cls(self) -> bool:
        """Whether the second feature is that of the class token."""
        return self.middle == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        layers, layer_cls, mask = all_layers(x)
        b, l, t, f, d = layers.shape
        gates = self.param("gates", nn.initializers.ones, (l,))
        init = nn.initializers.normal(0.02)
        vectors = self.param("prototypes", init, (self.num_prototypes, d))
        share = jax.nn.softmax(gates)
        mixed = mix_unit_tokens(layers, share).reshape(b, t * f, d)
        products = min_mean_max(mixed, jnp.ones((b, t * f)), mask, vectors)
        middle = products.mean
        if self.middle == "cls":
            mixed_cls = mix_unit_tokens(layer_cls, share)
            middle = einsum("bd,pd->bp", mixed_cls, vectors)
        features = jnp.stack([products.smallest, middle, products.largest], axis=-1)
        features = features * inverse_norms(vectors)[None, :, None]
        return self.classify(features.reshape(b, -1))


class LinearCgp(VectorProbe):
    """An affine map of a learned weighted mean of the layers; same source as `Cgp`.

    The vectors of the layers are averaged as they are, with the weights
    `softmax(gates)`; LayerNorm and the affine map follow.
    """

    input_kind: ClassVar = "layers"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        features = layer_vectors(x, self.input)
        gates = self.param("gates", nn.initializers.zeros, (features.shape[1],))
        mixed = einsum("bld,l->bd", features, jax.nn.softmax(gates))
        return self.classify(self.layer_norm(mixed))


class Head2Toe(VectorProbe):
    """An affine map of the concatenated layers; Evci et al. 2022, source as `Cgp`.

    A LayerNorm over the concatenated vector comes first.

    Attributes:
        group: The weights that the group lasso switches off together: those of one
            "feature" or of one "layer".
        penalty_weight: The weight of the group lasso in the loss.
    """

    input_kind: ClassVar = "layers"

    group: LassoGroup = "feature"
    penalty_weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("group", LassoGroup)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        features = layer_vectors(x, self.input)
        b, l, d = features.shape
        normed = self.layer_norm(features.reshape(b, l * d)).reshape(b, l, d)
        initialise = uniform_init(l * d)
        # The layers keep their own axis, because the penalty may group the weights by
        # layer.
        kernel = self.param("kernel", initialise, (l, d, self.num_classes))
        bias = self.param("bias", initialise, (self.num_classes,))
        return einsum("bld,ldc->bc", normed, kernel) + bias[None]

    def penalty(self, params: Any) -> Float[Array, ""]:
        """The weighted group lasso of the weights `W`.

        It is `sqrt(C) sum_i |W_i|` over the features or `sqrt(D) sum_l |W_l|` over the
        layers, times `penalty_weight`.
        """
        squares = jnp.square(params["kernel"])
        _, d, c = squares.shape
        axes, size = (2, c) if self.group == "feature" else ((1, 2), d)
        # max before sqrt: the other way round, the gradient of a zero group is NaN.
        norms = jnp.sqrt(jnp.maximum(squares.sum(axes), NORM_EPS**2))
        return self.penalty_weight * size**0.5 * norms.sum()


def all_layers(
    x: Tokens | Summary,
) -> tuple[Float[Array, "B L T F D"], Float[Array, "B L D"], Bool[Array, "B N"]]:
    """The tokens and class tokens of all layers, and the flat mask of the tokens.

    Masked tokens are zero.

    Raises:
        InputError: `x` does not have the tokens of all layers.
    """
    tokens, (raw, raw_cls) = not_summary(x), raw_layers(x)
    real = jnp.asarray(tokens.mask)[:, None, :, None, None]
    layers = jnp.asarray(raw).astype(jnp.float32)
    cls = jnp.asarray(raw_cls).astype(jnp.float32)
    return jnp.where(real, layers, 0.0), cls, flat_mask(tokens)


def raw_layers(x: Tokens | Summary) -> tuple[Any, Any]:
    """The tokens `[B, L, T, F, D]` and class tokens `[B, L, D]` of all layers.

    Raises:
        InputError: `x` does not have the tokens of all layers.
    """
    x = not_summary(x)
    if x.layers is None or x.layer_cls is None:
        raise InputError(
            "this probe reads the tokens of every layer: encode with all_layers=True"
        )
    return x.layers, x.layer_cls


def mix_unit_tokens(
    layers: Float[Array, "B L *N D"], share: Float[Array, "L"]
) -> Float[Array, "B *N D"]:
    """The weighted mean over the layers of tokens that are scaled to unit norm first.

    The mean is not scaled again.
    """
    norms = inverse_norms(layers)
    scale = share.reshape(1, -1, *(1,) * (norms.ndim - 2)) * norms
    # A product and a sum instead of an einsum: they are compiled into one pass over the
    # layers, without a float32 copy of all of them.
    return (layers * scale[..., None]).sum(1)


def layer_vectors(x: Tokens | Summary, statistic: Statistic) -> Float[Array, "B L D"]:
    """One vector per layer: its class token, or the mean of its tokens."""
    layers, layer_cls, mask = all_layers(x)
    if statistic == "cls":
        return layer_cls
    count = jnp.maximum(mask.sum(1), 1).astype(jnp.float32)
    return layers.sum((2, 3)) / count[:, None, None]
