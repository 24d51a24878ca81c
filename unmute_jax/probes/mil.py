"""Attention-based multiple-instance pooling: a small network scores each token."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.probes.base import (
    Probe,
    as_tokens,
    einsum,
    real_positions,
    uniform_init,
)
from unmute_jax.probes.linear import ACTIVATIONS
from unmute_jax.tokens import Summary, Tokens

Bend = Literal["tanh", "relu"]
Reach = Literal["none", "scores", "both"]

# Clips whose hidden layers exist at the same time.
CHUNK = 8


class AbMilp(Probe):
    """`sum_n softmax_n(score(z_n)) z_n`, then an affine map; section 3.6.

    The score is an affine map of hidden layers as wide as the tokens. Which variant the
    paper used is not known; the default is that of the class in the first code.

    Attributes:
        depth: Affine maps in the score; 1 means no hidden layer.
        activation: "tanh" or "relu", of the hidden layers.
        self_attention: Whether one-head self-attention over the tokens comes first:
            "none"; for the "scores" alone; or for "both" scores and sums.
    """

    input_kind: ClassVar = "tokens"

    depth: int = 2
    activation: Bend = "tanh"
    self_attention: Reach = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("depth")
        self.check_choice("activation", Bend)
        self.check_choice("self_attention", Reach)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens, mask = real_positions(as_tokens(x))
        d = tokens.shape[-1]
        layers = [self.affine(f"hidden_{i}", d, d) for i in range(self.depth - 1)]
        layers.append(self.affine("score", d, 1))
        attention = None
        if self.self_attention != "none":
            attention = self.matrix("qkv", d, 3 * d), self.affine("project", d, d)

        # The score bends, so it cannot be folded into anything. Its hidden layers are
        # as large as the tokens: a few clips at a time, and again in the backward pass.
        @jax.checkpoint
        def pool(clip: tuple[Array, Array]) -> Array:
            values, real = clip
            scored = values
            if attention is not None:
                scored = attend_to_itself(values, real, *attention)
            if self.self_attention == "both":
                values = scored
            return einsum("n,nd->d", self.weights(scored, real, layers), values)

        return self.classify(jax.lax.map(pool, (tokens, mask), batch_size=CHUNK))

    def affine(self, name: str, rows: int, columns: int) -> dict[str, Array]:
        """Kernel and bias of an affine map; they start as PyTorch's do."""

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
        """The weights of one clip's tokens; zero where they are not real."""
        for layer in layers[:-1]:
            x = ACTIVATIONS[self.activation](apply_affine(layer, x))
        # The last bias adds the same to every score, which softmax does not see. Left
        # out, its gradient is zero and not the rounding that AdamW would blow up.
        return real_softmax(einsum("nx,xy->ny", x, layers[-1]["kernel"])[:, 0], real)


def apply_affine(
    layer: dict[str, Array], x: Float[Array, "N X"]
) -> Float[Array, "N Y"]:
    """`x @ kernel + bias`."""
    return einsum("nx,xy->ny", x, layer["kernel"]) + layer["bias"][None]


def attend_to_itself(
    x: Float[Array, "N D"],
    real: Bool[Array, "N"],
    qkv: Float[Array, "D X"],
    project: dict[str, Array],
) -> Float[Array, "N D"]:
    """One-head self-attention of a clip, with an output projection, no residual."""
    query, key, value = jnp.split(einsum("nd,dx->nx", x, qkv), 3, axis=-1)
    scores = einsum("nd,md->nm", query * x.shape[-1] ** -0.5, key)
    mixed = einsum("nm,md->nd", real_softmax(scores, real[None]), value)
    return apply_affine(project, mixed)


def real_softmax(
    scores: Float[Array, "*S N"], real: Bool[Array, "*#S N"]
) -> Float[Array, "*S N"]:
    """Softmax over the last axis where `real` is true; finite where nothing is."""
    least: Any = jnp.finfo(scores.dtype).min
    return jax.nn.softmax(jnp.where(real, scores, least), axis=-1)
