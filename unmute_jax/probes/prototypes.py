"""Prototypical probes, which describe a clip by its best match with each prototype."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Shaped

from unmute_jax.ops import max_cosine, top_products
from unmute_jax.probes.base import Probe, as_tokens, einsum, flat_mask, uniform_init
from unmute_jax.probes.layer_choice import LayeredProbe
from unmute_jax.tokens import Summary, Tokens, inverse_norms

ClassifierKind = Literal["dense", "block"]


class Protobin(LayeredProbe):
    """Binarised prototypes and a dense layer on their best matches; section 3.8.

    `y = W s + b` with `s_p = max_n cos(sign(v_p), token_n)`. The prototypes belong to
    no class: every class may use each of them with either sign. The option `layers` is
    that of `LayeredProbe`; with layers="all" the best match may lie in any layer.

    Attributes:
        prototypes_per_class: J, which only sets the total number `P = C * J`.
    """

    input_kind: ClassVar = "tokens"

    prototypes_per_class: int = 20

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens = self.tokens_of(x, self.gates(x))
        shape = (self.num_classes * self.prototypes_per_class, tokens.cls.shape[-1])
        vectors = self.param("prototypes", nn.initializers.normal(0.02), shape)
        return self.classify(best_matches(tokens, sign(vectors), binary=True))


class Protofloat(Probe):
    """Float prototypes and an affine map of their best matches; section 3.9.

    It equals `Protobin` without the sign. The options are those of a later code of the
    first author; the paper has none of them.

    Attributes:
        prototypes_per_class: J; the total number is `P = C * J`.
        top_k: In training, the mean of this many largest similarities replaces the
            maximum.
        focal: Whether the class token is subtracted from the tokens.
        classifier: "dense": every class reads all prototypes; "block": only its own J.
    """

    input_kind: ClassVar = "tokens"

    prototypes_per_class: int = 20
    top_k: int = 1
    focal: bool = False
    classifier: ClassifierKind = "dense"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("classifier", ClassifierKind)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens = as_tokens(x)
        if self.focal:
            tokens = subtract_cls(tokens)
        c, j = self.num_classes, self.prototypes_per_class
        shape = (c * j, tokens.cls.shape[-1])
        vectors = self.param("prototypes", nn.initializers.normal(0.02), shape)
        if self.training and self.top_k > 1:
            patches, scale, mask = as_sequence(tokens)
            best = top_products(patches, scale, mask, vectors, k=self.top_k)
            scores = mean_of_top(best, mask) * inverse_norms(vectors)[None]
        else:
            scores = best_matches(tokens, vectors, binary=False)
        if self.classifier == "dense":
            return self.classify(scores)
        kernel = self.param("kernel", uniform_init(j), (c, j))
        bias = self.param("bias", uniform_init(j), (c,))
        return sum_by_class(scores, kernel) + bias[None]


def as_sequence(
    tokens: Tokens,
) -> tuple[Shaped[Array, "B N D"], Float[Array, "B N"], Bool[Array, "B N"]]:
    """The raw patches as a sequence, their inverse norms and their mask; `N = T * F`.

    The tokens must have inverse norms.
    """
    assert tokens.inverse_norms is not None
    b, t, f, d = tokens.patches.shape
    return (
        jnp.asarray(tokens.patches).reshape(b, t * f, d),
        jnp.asarray(tokens.inverse_norms).reshape(b, t * f),
        flat_mask(tokens),
    )


def best_matches(
    tokens: Tokens, prototypes: Float[Array, "P D"], *, binary: bool
) -> Float[Array, "B P"]:
    """The largest cosine of each prototype over the real positions of a clip."""
    return max_cosine(*as_sequence(tokens), prototypes, binary=binary)


def mean_of_top(
    best: Float[Array, "B P X"], mask: Bool[Array, "B N"]
) -> Float[Array, "B P"]:
    """The mean of what `top_products` returns; a short clip has fewer than `X`."""
    count = jnp.clip(mask.sum(1), 1, best.shape[-1]).astype(jnp.float32)
    return best.sum(-1) / count[:, None]


def subtract_cls(tokens: Tokens) -> Tokens:
    """The tokens minus the class token of their clip, in float32."""
    cls = jnp.asarray(tokens.cls).astype(jnp.float32)
    patches = jnp.asarray(tokens.patches).astype(jnp.float32) - cls[:, None, None]
    return dataclasses.replace(
        tokens, patches=patches, inverse_norms=inverse_norms(patches)
    )


def sum_by_class(
    scores: Float[Array, "B P"], kernel: Float[Array, "C J"]
) -> Float[Array, "B C"]:
    """The weighted sum of each class's J scores; class `c` owns prototype `c * J + j`.

    Args:
        scores: The scores of all prototypes.
        kernel: The weight of each class's prototypes.
    """
    return einsum("bcj,cj->bc", scores.reshape(-1, *kernel.shape), kernel)


@jax.custom_jvp
def sign(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """+1 where `x >= 0` (both zeros included), else -1, with the derivative 1.

    The derivative is the straight-through estimate, since nothing could be learned
    through a step function. It is not clipped, however large `x` grows.
    """
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


@sign.defjvp
def _sign_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return sign(*primals), tangents[0]
