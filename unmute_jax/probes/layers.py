"""Probes of all layers of an encoder: CGP, its linear variant, and Head2Toe."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.errors import InputError
from unmute_jax.ops import min_mean_max
from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.probes.base import Probe, einsum, flat_mask, uniform_init
from unmute_jax.probes.linear import Statistic
from unmute_jax.tokens import Summary, Tokens, inverse_norms

Group = Literal["feature", "layer"]


class Cgp(Probe):
    """Convex gated probing: prototypes on a learned mean of the layers.

    Each layer's tokens and class token are scaled to unit norm, then averaged with the
    weights `softmax(gates)`. Every unit prototype gives three features: its smallest
    product with a position, that with the class token, its largest; an affine map
    follows. The averaged tokens are not scaled to unit norm again.

    Source: Ghaffari et al., "BAT", ICML 2026. Differs from it: no dropout.

    Attributes:
        num_prototypes: In all, whatever the number of classes.
        middle: "cls", as above; or "mean", the mean product with the positions, for
            encoders without a class token.
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
        """Unless the middle is the mean."""
        return self.middle == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        layers, layer_cls, mask = all_layers(x)
        b, l, t, f, d = layers.shape
        gates = self.param("gates", nn.initializers.ones, (l,))
        init = nn.initializers.normal(0.02)
        vectors = self.param("prototypes", init, (self.num_prototypes, d))
        share = jax.nn.softmax(gates)
        scale = share[None, :, None, None] * inverse_norms(layers)
        # A product and a sum, not an einsum: compiled into one pass over the layers
        # without a float32 copy of them all.
        mixed = (layers * scale[..., None]).sum(1).reshape(b, t * f, d)
        found = min_mean_max(mixed, jnp.ones((b, t * f)), mask, vectors)
        middle = found.mean
        if self.middle == "cls":
            cls_scale = share[None] * inverse_norms(layer_cls)
            one = (layer_cls * cls_scale[..., None]).sum(1)
            middle = einsum("bd,pd->bp", one, vectors)
        features = jnp.stack([found.smallest, middle, found.largest], axis=-1)
        features = features * inverse_norms(vectors)[None, :, None]
        return self.classify(features.reshape(b, -1))


class LinearCgp(Probe):
    """An affine map of a learned mean of the layers; same source as `Cgp`.

    The vectors of the layers, as they are, are averaged with the weights
    `softmax(gates)`; LayerNorm and the affine map follow.

    Attributes:
        input: One vector per layer: "cls", or the "mean" of its tokens.
    """

    input_kind: ClassVar = "layers"

    input: Statistic = "cls"

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
        features = layer_vectors(x, self.input)
        gates = self.param("gates", nn.initializers.zeros, (features.shape[1],))
        mixed = einsum("bld,l->bd", features, jax.nn.softmax(gates))
        return self.classify(self.layer_norm(mixed))


class Head2Toe(Probe):
    """An affine map of all layers, joined; Evci et al. 2022, same source as `Cgp`.

    LayerNorm over the joined vector comes first.

    Attributes:
        input: One vector per layer: "cls", or the "mean" of its tokens.
        group: What the group lasso switches off together: the weights of one "feature"
            or of one "layer".
        penalty_weight: Of the group lasso in the loss.
    """

    input_kind: ClassVar = "layers"

    input: Statistic = "cls"
    group: Group = "feature"
    penalty_weight: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Statistic)
        self.check_choice("group", Group)
        self.check_weight("penalty_weight")

    @property
    def needs_cls(self) -> bool:
        """Unless it reads the mean."""
        return self.input == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        features = layer_vectors(x, self.input)
        b, l, d = features.shape
        normed = self.layer_norm(features.reshape(b, l * d)).reshape(b, l, d)
        initialise = uniform_init(l * d)
        # The layers keep an axis of their own: the penalty may want them apart.
        kernel = self.param("kernel", initialise, (l, d, self.num_classes))
        bias = self.param("bias", initialise, (self.num_classes,))
        return einsum("bld,ldc->bc", normed, kernel) + bias[None]

    def penalty(self, params: Any) -> Float[Array, ""]:
        """The group lasso of the weights `W`, times its own weight.

        `sqrt(C) sum_i |W_i|` over the features, or `sqrt(D) sum_l |W_l|` over the
        layers.
        """
        squares = jnp.square(params["kernel"])
        _, d, c = squares.shape
        axes, size = (2, c) if self.group == "feature" else ((1, 2), d)
        # max before sqrt: the other way round the gradient of a group at zero is NaN.
        norms = jnp.sqrt(jnp.maximum(squares.sum(axes), NORM_EPS**2))
        return self.penalty_weight * size**0.5 * norms.sum()


def all_layers(
    x: Tokens | Summary,
) -> tuple[Float[Array, "B L T F D"], Float[Array, "B L D"], Bool[Array, "B N"]]:
    """Tokens and class tokens of all layers, and the flat mask of the former.

    What is not real is zero.
    """
    if isinstance(x, Summary):
        raise InputError("this probe reads tokens; a summary of them is not enough")
    if x.layers is None or x.layer_cls is None:
        raise InputError(
            "this probe reads the tokens of every layer: encode with all_layers=True"
        )
    real = jnp.asarray(x.mask)[:, None, :, None, None]
    layers = jnp.asarray(x.layers).astype(jnp.float32)
    cls = jnp.asarray(x.layer_cls).astype(jnp.float32)
    return jnp.where(real, layers, 0.0), cls, flat_mask(x)


def layer_vectors(x: Tokens | Summary, statistic: Statistic) -> Float[Array, "B L D"]:
    """One vector per layer: its class token, or the mean of its tokens."""
    layers, layer_cls, mask = all_layers(x)
    if statistic == "cls":
        return layer_cls
    count = jnp.maximum(mask.sum(1), 1).astype(jnp.float32)
    return layers.sum((2, 3)) / count[:, None, None]
