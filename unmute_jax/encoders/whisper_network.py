"""Implements the encoder of Whisper: two convolutions and pre-norm blocks over time.

Source: openai-whisper 20250625 (MIT).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.encoders.blocks import Linear, PreNormBlock, gelu, layer_norm
from unmute_jax.weights.whisper import KERNEL, Sizes

EPSILON = 1e-5
STRIDE = 2  # frames per token


class WhisperNetwork(nn.Module):
    """The transformer: a token for every two frames, and no class token.

    Attributes:
        sizes: Sizes of the tensors.
        num_heads: Number of attention heads.
        epsilon: Epsilon of every LayerNorm.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Names the parameters as `weights.whisper.WhisperCheckpoints` does."""
        sizes = self.sizes
        self.conv1 = Linear(sizes.width)
        self.conv2 = Linear(sizes.width)
        shape = (sizes.positions, sizes.width)
        self.positions = self.param("positions", nn.initializers.zeros, shape)
        self.blocks = [
            PreNormBlock(self.num_heads, sizes.hidden, self.epsilon, self.dtype)
            for _ in range(sizes.depth)
        ]
        self.norm = layer_norm(self.epsilon)

    def convolve(self, spectrogram: Float[Array, "B frames mels"]) -> Array:
        """Applies both convolutions, each followed by a GELU: `[B, frames / 2, D]`."""
        x = gelu(self.conv1(_windows(spectrogram, 1)))
        return gelu(self.conv2(_windows(x, STRIDE)))

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The input of the first block, with the first positions of the table."""
        x = self.convolve(spectrogram)
        return x + self.positions[: x.shape[1]][None]

    def __call__(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature, which is that of the last norm.

        An odd last frame is dropped.
        """
        frames = spectrogram.shape[1]
        x = self.embed(spectrogram[:, : frames // STRIDE * STRIDE])
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs, self.norm(x)


def _windows(x: Float[Array, "B N D"], stride: int) -> Array:
    """The inputs of a convolution of `KERNEL` taps with zeros at the ends.

    Args:
        x: Sequences of features.
        stride: Distance of the centres of two windows.

    Returns:
        Windows, taps before features, shape `[B, N / stride, KERNEL * D]`.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
    n = x.shape[1]
    taps = [padded[:, k : k + n : stride] for k in range(KERNEL)]
    return jnp.concatenate(taps, axis=-1)
