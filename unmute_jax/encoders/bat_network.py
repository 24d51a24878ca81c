"""Implements the network of BAT: post-norm blocks whose attention is gated.

Source: github.com/houtan-ghaffari/BAT_ICML2026, commit cc92282 (MIT).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.encoders.attention import attend
from unmute_jax.encoders.blocks import Linear, Mlp, layer_norm
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.weights.bat import CHUNK
from unmute_jax.weights.vit import BANDS


class GatedAttention(nn.Module):
    """Multi-head self-attention whose result is gated by the tokens themselves."""

    num_heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Computes (pooled values * sigmoid(W_g x + b_g)), then the projection."""
        b, n, d = x.shape
        qkv = Linear(3 * d, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(b, n, 3, self.num_heads, -1), 2, 0)
        pooled = attend(q, k, v, None, self.dtype).reshape(b, n, d)
        gate = jax.nn.sigmoid(Linear(d, name="gate")(x))
        return Linear(d, dtype=self.dtype, name="proj")(pooled * gate)


class GatedBlock(nn.Module):
    """A block that normalises after each residual sum, with gated attention."""

    num_heads: int
    hidden: int
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Computes LN2(u + MLP(u)), where u = LN1(x + Attention(x))."""
        attended = GatedAttention(self.num_heads, self.dtype, name="attn")(x)
        u = layer_norm(self.epsilon, "norm1")(x + attended)
        inner = Mlp(self.hidden, self.dtype, name="mlp")(u)
        return layer_norm(self.epsilon, "norm2")(u + inner)


class BatNetwork(VitNetwork):
    """A ViT that reads chunks of 64 time steps, each with a class token of its own."""

    block = GatedBlock

    def setup(self) -> None:
        """Adds the first LayerNorm."""
        super().setup()
        self.pre_norm = layer_norm(self.epsilon)

    @property
    def max_steps(self) -> None:
        """None: the positions start again with every chunk."""

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """Embedded patches, time-major, with the positions of their chunks."""
        x = self.embed_patches(spectrogram)
        places = jnp.arange(x.shape[1]) % (CHUNK * BANDS)
        return x + self.positions[places][None]

    def __call__(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature, with the class token first.

        The class token is the mean of those of the chunks, however short the last one
        is.
        """
        x = self.embed(spectrogram)
        b, n, d = x.shape
        size = CHUNK * BANDS
        whole = n // size * size
        chunks = [x[:, :whole].reshape(-1, size, d), x[:, whole:]]
        outputs = [self._encode(chunk) for chunk in chunks if chunk.size]
        layers = []
        for parts in zip(*outputs, strict=True):
            cls = [part[:, 0].reshape(b, -1, d) for part in parts]
            patches = [part[:, 1:].reshape(b, -1, d) for part in parts]
            mean = jnp.concatenate(cls, axis=1).mean(1, keepdims=True)
            layers.append(jnp.concatenate([mean, *patches], axis=1))
        return layers, layers[-1]

    def _encode(self, x: Float[Array, "B N D"]) -> list[Float[Array, "B M D"]]:
        """The output of every block for chunks, with their class tokens first."""
        x = self.pre_norm(self.prepend_cls(self.cls, x))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs
