"""Prototypical probes: a clip is described by its best match with each prototype."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.ops import max_cosine
from unmute_jax.probes.base import Probe, as_tokens, flat_mask
from unmute_jax.tokens import Summary, Tokens


class Protobin(Probe):
    """Binarised prototypes, a dense layer on their best matches; section 3.8.

    `y = W s + b` with `s_p = max_n cos(sign(v_p), token_n)`. The prototypes belong to
    no class: any class may use any of them, with either sign.

    Attributes:
        prototypes_per_class: J; it only sets the total `P = C * J`.
    """

    reads: ClassVar = "tokens"

    prototypes_per_class: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("prototypes_per_class")

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens = as_tokens(x)
        shape = (self.num_classes * self.prototypes_per_class, tokens.cls.shape[-1])
        vectors = self.param("prototypes", nn.initializers.normal(0.02), shape)
        return self.classify(best_matches(tokens, sign(vectors), binary=True))


def best_matches(
    tokens: Tokens, prototypes: Float[Array, "P D"], *, binary: bool
) -> Float[Array, "B P"]:
    """The largest cosine of each prototype over the real positions of a clip."""
    assert tokens.inverse_norms is not None
    b, t, f, d = tokens.patches.shape
    return max_cosine(
        jnp.asarray(tokens.patches).reshape(b, t * f, d),
        jnp.asarray(tokens.inverse_norms).reshape(b, t * f),
        flat_mask(tokens),
        prototypes,
        binary=binary,
    )


@jax.custom_jvp
def sign(x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """+1 where `x >= 0` (both zeros included), else -1; its derivative is taken as 1.

    The derivative is the straight-through estimate: without it nothing could be learned
    through a step. It is not clipped, however large `x` grows.
    """
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


@sign.defjvp
def _sign_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return sign(*primals), tangents[0]
