"""Attention-based multiple-instance pooling: a small network scores each token."""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.probes.base import (
    Probe,
    as_tokens,
    einsum,
    flatten_tokens,
    masked_softmax,
    uniform_init,
)
from unmute_jax.probes.linear import ACTIVATIONS
from unmute_jax.tokens import Summary, Tokens

ScoreActivation = Literal["tanh", "relu"]
SelfAttention = Literal["none", "scores", "both"]

# Number of clips whose hidden layers exist at the same time.
CHUNK = 8


class AbMilp(Probe):
    """`sum_n softmax_n(score(z_n)) z_n`, then an affine map; section 3.6.

    The score is an affine map of hidden layers as wide as the tokens. Which variant the
    paper used is not known; the default is that of the class in its first code.

    Attributes:
        depth: The number of affine maps in the score; 1 means no hidden layer.
        activation: The activation of the hidden layers, "tanh" or "relu".
        self_attention: Whether one-head self-attention over the tokens comes first:
            "none"; for the "scores" alone; or for "both" scores and pooled values.
    """

    input_kind: ClassVar = "tokens"

    depth: int = 2
    activation: ScoreActivation = "tanh"
    self_attention: SelfAttention = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("activation", ScoreActivation)
        self.check_choice("self_attention", SelfAttention)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        tokens, mask = flatten_tokens(as_tokens(x))
        d = tokens.shape[-1]
        layers = [self.affine(f"hidden_{i}", d, d) for i in range(self.depth - 1)]
        layers.append(self.affine("score", d, 1))
        attention = None
        if self.self_attention != "none":
            attention = self.matrix("qkv", d, 3 * d), self.affine("project", d, d)

        # The score is not linear, so it cannot be folded into other maps. Its hidden
        # layers are as large as the tokens; they are computed for a few clips at a
        # time, and again in the backward pass.
        @jax.checkpoint
        def pool(clip: tuple[Array, Array]) -> Array:
            values, real = clip
            scored = values
            if attention is not None:
                scored = attend_within_clip(values, real, *attention)
            if self.self_attention == "both":
                values = scored
            return einsum("n,nd->d", self.weights(scored, real, layers), values)

        return self.classify(jax.lax.map(pool, (tokens, mask), batch_size=CHUNK))

    def affine(self, name: str, rows: int, columns: int) -> dict[str, Array]:
        """Kernel and bias of an affine map, with PyTorch's initial values."""

        def initialise(key: Array) -> dict[str, Array]:
            keys = jax.random.split(key)
            draw = uniform_init(rows)
            return {
                "kernel": draw(keys[0], (rows, columns)),
                "bias": draw(keys[1], (columns,)),
            }

        return self.param(name, initialise)

    def weights(
        self,
        x: Float[Array, "N D"],
        real: Bool[Array, "N"],
        layers: list[dict[str, Array]],
    ) -> Float[Array, "N"]:
        """The weights of one clip's tokens; zero at masked positions."""
        for layer in layers[:-1]:
            x = ACTIVATIONS[self.activation](apply_affine(layer, x))
        # The last bias adds the same to every score and cancels in the softmax. It is
        # left out, so that its gradient is exactly zero: AdamW would scale up a
        # gradient of rounding errors.
        scores = einsum("nx,xy->ny", x, layers[-1]["kernel"])[:, 0]
        return masked_softmax(scores, real, axis=-1)


def apply_affine(
    layer: dict[str, Array], x: Float[Array, "N X"]
) -> Float[Array, "N Y"]:
    """`x @ kernel + bias`."""
    return einsum("nx,xy->ny", x, layer["kernel"]) + layer["bias"][None]


def attend_within_clip(
    x: Float[Array, "N D"],
    real: Bool[Array, "N"],
    qkv: Float[Array, "D X"],
    project: dict[str, Array],
) -> Float[Array, "N D"]:
    """One-head self-attention of a clip with output projection, without residual."""
    query, key, value = jnp.split(einsum("nd,dx->nx", x, qkv), 3, axis=-1)
    scores = einsum("nd,md->nm", query * x.shape[-1] ** -0.5, key)
    weights = masked_softmax(scores, real[None], axis=-1)
    return apply_affine(project, einsum("nm,md->nd", weights, value))
