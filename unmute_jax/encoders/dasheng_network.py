"""The network of Dasheng: a ViT over time alone, in pieces of ten seconds.

Source: github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0), package 0.0.9.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from unmute_jax.encoders import vit
from unmute_jax.weights.dasheng import FRAMES, MEL, Sizes

EPSILON = 1e-6
INPUT_EPSILON = HEAD_EPSILON = 1e-5


class BandNorm(nn.Module):
    """BatchNorm over mel bands with the statistics of its training."""

    epsilon: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B frames mels"]
    ) -> Float[Array, "B frames mels"]:
        """(x - mean) / sqrt(var + epsilon) * scale + bias, band by band."""
        zeros, ones, shape = nn.initializers.zeros, nn.initializers.ones, x.shape[-1:]
        mean = self.param("mean", zeros, shape)[None, None]
        var = self.param("var", ones, shape)[None, None]
        scale = self.param("scale", ones, shape)[None, None]
        bias = self.param("bias", zeros, shape)[None, None]
        return (x - mean) / jnp.sqrt(var + self.epsilon) * scale + bias


class DashengNetwork(nn.Module):
    """The encoder: a patch spans all mel bands, and there is no class token.

    Attributes:
        sizes: Of the tensors.
        num_heads: Attention heads.
        epsilon: Of every LayerNorm but that of the head.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Parameters named as `weights.dasheng.to_params` names them."""
        sizes = self.sizes
        self.input_norm = BandNorm(INPUT_EPSILON)
        self.patch_embed = vit.Linear(sizes.width)
        self.positions = self.param(
            "positions", nn.initializers.zeros, (sizes.positions, sizes.width)
        )
        self.blocks = [
            vit.PreNormBlock(self.num_heads, sizes.hidden, self.epsilon, self.dtype)
            for _ in range(sizes.depth)
        ]
        self.norm = vit.layer_norm(self.epsilon)
        if sizes.classes is not None:
            self.head_norm = vit.layer_norm(HEAD_EPSILON)
            self.head = vit.Linear(sizes.classes)

    def normalise(
        self, decibels: Float[Array, "B frames mels"]
    ) -> Float[Array, "B frames mels"]:
        """The network input."""
        return self.input_norm(decibels)

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The input of the first block; positions start anew with every piece.

        Frames that fill no patch are dropped.
        """
        b, frames, _ = spectrogram.shape
        n = frames // FRAMES
        patches = spectrogram[:, : n * FRAMES].reshape(b, n, FRAMES * MEL.num_mels)
        places = jnp.arange(n) % self.sizes.positions
        return self.patch_embed(patches) + self.positions[places][None]

    def __call__(
        self,
        spectrogram: Float[Array, "B frames mels"],
        keys: Bool[Array, "B N"] | None = None,
    ) -> list[Float[Array, "B N D"]]:
        """The output of every block, and that of the final norm: the feature.

        Tokens attend within their piece, and there to `keys` alone where they are
        given; the last piece may be shorter.
        """
        x = self.embed(spectrogram)
        b, _, d = x.shape
        pieces = self._pieces(x)
        masks = [None] * len(pieces) if keys is None else self._pieces(keys)
        outputs = [self._encode(*piece) for piece in zip(pieces, masks, strict=True)]
        layers = zip(*outputs, strict=True)
        return [
            jnp.concatenate([part.reshape(b, -1, d) for part in layer], axis=1)
            for layer in layers
        ]

    def _pieces(self, x: Array) -> list[Array]:
        """All whole pieces of `[B, N, ...]` as more rows, and what is left of each."""
        size = self.sizes.positions
        whole = x.shape[1] // size * size
        pieces = [x[:, :whole].reshape(-1, size, *x.shape[2:]), x[:, whole:]]
        return [piece for piece in pieces if piece.size]

    def _encode(self, x: Array, keys: Array | None) -> list[Array]:
        outputs = []
        for block in self.blocks:
            x = block(x, keys)
            outputs.append(x)
        return [*outputs, self.norm(x)]

    def classify(self, mean: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """The head of a fine-tuned file; scores before the sigmoid."""
        return self.head(self.head_norm(mean))
