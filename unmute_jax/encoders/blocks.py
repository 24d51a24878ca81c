"""Implements the transformer parts that the encoders share.

Query, key and value come from one matrix product. `dtype` is the type of the factors of
products: float32, or bfloat16 with sums in float32. Everything else is float32.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from unmute_jax.encoders.attention import attend, multiply


def layer_norm(epsilon: float, name: str | None = None) -> nn.LayerNorm:
    """Makes a LayerNorm that computes the variance in two passes, as PyTorch does.

    The one-pass form of Flax loses digits where the mean is large against the spread.
    """
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


class Linear(nn.Module):
    """A linear map whose result is float32, whatever the type of its factors.

    The weight is `[out, in]`, as in PyTorch: on a CPU this makes a ViT faster than the
    transpose does, by 3 % in float32 and by 8 % in bfloat16.

    Attributes:
        features: Number of outputs.
        use_bias: Whether a bias is added.
        dtype: Type of the factors.
    """

    features: int
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """Computes X W^T + b."""
        zeros = nn.initializers.zeros
        weight = self.param("weight", zeros, (self.features, x.shape[-1]))
        y = multiply("...i,oi->...o", x.astype(self.dtype), weight.astype(self.dtype))
        if not self.use_bias:
            return y
        bias = self.param("bias", zeros, (self.features,))
        return y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


class Attention(nn.Module):
    """Multi-head self-attention; `qkv` holds query, key and value, each head-major."""

    num_heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], keys: Bool[Array, "B N"] | None = None
    ) -> Float[Array, "B N D"]:
        """Computes softmax(q k^T / sqrt(D / heads)) v, then the output projection.

        Only tokens in `keys` are attended to. A clip without any of them attends to all
        tokens alike.
        """
        b, n, d = x.shape
        qkv = Linear(3 * d, dtype=self.dtype, name="qkv")(x)
        q, k, v = jnp.moveaxis(qkv.reshape(b, n, 3, self.num_heads, -1), 2, 0)
        pooled = attend(q, k, v, keys, self.dtype).reshape(b, n, d)
        return Linear(d, dtype=self.dtype, name="proj")(pooled)


class Mlp(nn.Module):
    """Two linear maps around an exact (erf) GELU."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Computes fc2(gelu(fc1(x)))."""
        inner = gelu(Linear(self.hidden, dtype=self.dtype, name="fc1")(x))
        return Linear(x.shape[-1], dtype=self.dtype, name="fc2")(inner)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes the exact GELU with erf, as PyTorch does.

    `jax.nn.gelu` uses erfc, which costs twice as much on a CPU and improves only
    results that are almost 0.
    """
    return 0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))


class PostNormBlock(nn.Module):
    """A block that normalises after each residual sum, as in data2vec."""

    num_heads: int
    hidden: int
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Computes LN2(u + MLP(u)), where u = LN1(x + Attention(x))."""
        attended = Attention(self.num_heads, self.dtype, name="attn")(x)
        u = layer_norm(self.epsilon, "norm1")(x + attended)
        inner = Mlp(self.hidden, self.dtype, name="mlp")(u)
        return layer_norm(self.epsilon, "norm2")(u + inner)


class PreNormBlock(nn.Module):
    """A block that normalises in front of attention and MLP, as in ViT."""

    num_heads: int
    hidden: int
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], keys: Bool[Array, "B N"] | None = None
    ) -> Float[Array, "B N D"]:
        """Computes u + MLP(LN2(u)), where u = x + Attention(LN1(x))."""
        normalised = layer_norm(self.epsilon, "norm1")(x)
        u = x + Attention(self.num_heads, self.dtype, name="attn")(normalised, keys)
        inner = layer_norm(self.epsilon, "norm2")(u)
        return u + Mlp(self.hidden, self.dtype, name="mlp")(inner)


def patchify(
    spectrogram: Float[Array, "B frames mels"], size: int, bands: int
) -> Float[Array, "B T {bands} {size}*{size}"]:
    """Cuts spectrograms into square patches, pixels in (time, mel) order.

    A matrix product with the patches is the convolution of the references with kernel
    and stride `size`. Frames that fill no patch are dropped, as in the convolution.

    Args:
        spectrogram: Spectrograms of `bands * size` mel bands.
        size: Frames and mel bands of a patch.
        bands: F, the number of patches over the mel bands. The positions of a network
            are for this number of patches, so another one would misalign them.

    Raises:
        ValueError: The spectrogram has another number of mel bands.
    """
    b, frames, mels = spectrogram.shape
    if mels != bands * size:
        raise ValueError(
            f"the positions of this network are for {bands} patches over {bands * size}"
            f" mel bands; its front end gives {mels} mel bands"
        )
    t = frames // size
    x = spectrogram[:, : t * size].reshape(b, t, size, bands, size)
    return x.transpose(0, 1, 3, 2, 4).reshape(b, t, bands, size * size)
