"""Implements the network of Dasheng, a ViT over time alone in pieces of ten seconds.

Source: github.com/RicherMans/Dasheng, commit db73093 (Apache-2.0), package 0.0.9.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from unmute_jax.encoders import blocks
from unmute_jax.weights.dasheng import FRAMES, MEL, Sizes

EPSILON = 1e-6
INPUT_EPSILON = HEAD_EPSILON = 1e-5


class BandNorm(nn.Module):
    """BatchNorm over mel bands with the running statistics of the training."""

    epsilon: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B frames mels"]
    ) -> Float[Array, "B frames mels"]:
        """Computes (x - mean) / sqrt(var + epsilon) * scale + bias for each band."""
        zeros, ones, shape = nn.initializers.zeros, nn.initializers.ones, x.shape[-1:]
        mean = self.param("mean", zeros, shape)[None, None]
        var = self.param("var", ones, shape)[None, None]
        scale = self.param("scale", ones, shape)[None, None]
        bias = self.param("bias", zeros, shape)[None, None]
        return (x - mean) / jnp.sqrt(var + self.epsilon) * scale + bias


class DashengNetwork(nn.Module):
    """The transformer: a patch spans all mel bands, and there is no class token.

    Attributes:
        sizes: Sizes of the tensors.
        num_heads: Number of attention heads.
        epsilon: Epsilon of every LayerNorm except that of the head.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Names the parameters as `weights.dasheng.DashengCheckpoints` does."""
        sizes = self.sizes
        self.input_norm = BandNorm(INPUT_EPSILON)
        self.patch_embed = blocks.Linear(sizes.width)
        self.positions = self.param(
            "positions", nn.initializers.zeros, (sizes.positions, sizes.width)
        )
        self.blocks = [
            blocks.PreNormBlock(self.num_heads, sizes.hidden, self.epsilon, self.dtype)
            for _ in range(sizes.depth)
        ]
        self.norm = blocks.layer_norm(self.epsilon)
        if sizes.classes is not None:
            self.head_norm = blocks.layer_norm(HEAD_EPSILON)
            self.head = blocks.Linear(sizes.classes)

    def normalise(
        self, decibels: Float[Array, "B frames mels"]
    ) -> Float[Array, "B frames mels"]:
        """Maps decibels to the network input."""
        return self.input_norm(decibels)

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The input of the first block; positions start again with every piece.

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
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature, which is that of the last norm.

        Tokens attend to tokens of their own piece, and only to those in `keys`. The
        last piece may be shorter.
        """
        x = self.embed(spectrogram)
        b, _, d = x.shape
        pieces = self._pieces(x)
        masks = [None] * len(pieces) if keys is None else self._pieces(keys)
        outputs = [self._encode(*piece) for piece in zip(pieces, masks, strict=True)]
        *layers, feature = [
            jnp.concatenate([part.reshape(b, -1, d) for part in parts], axis=1)
            for parts in zip(*outputs, strict=True)
        ]
        return layers, feature

    def _pieces(self, x: Array) -> list[Array]:
        """Splits `[B, N, ...]` into whole pieces, as rows, and a shorter last one."""
        size = self.sizes.positions
        whole = x.shape[1] // size * size
        pieces = [x[:, :whole].reshape(-1, size, *x.shape[2:]), x[:, whole:]]
        return [piece for piece in pieces if piece.size]

    def _encode(self, x: Array, keys: Array | None) -> list[Array]:
        """The output of every block and of the last norm."""
        outputs = []
        for block in self.blocks:
            x = block(x, keys)
            outputs.append(x)
        return [*outputs, self.norm(x)]

    def classify(self, mean: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """Applies the head of a fine-tuned file; scores are before the sigmoid."""
        return self.head(self.head_norm(mean))
