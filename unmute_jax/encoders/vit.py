"""Transformer parts that the encoders share.

Written for speed on a CPU as well: query, key and value come from one matrix product,
and the heads are moved in front of the tokens before the two attention products.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def layer_norm(epsilon: float, name: str | None = None) -> nn.LayerNorm:
    """LayerNorm with the two-pass variance, as PyTorch computes it.

    The one-pass form of flax loses digits where the mean is large against the spread.
    """
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


class Attention(nn.Module):
    """Multi-head self-attention; `qkv` holds query, key, value, each head-major."""

    num_heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], keys: Bool[Array, "B N"] | None = None
    ) -> Float[Array, "B N D"]:
        """softmax(q k^T / sqrt(D / heads)) v, then the output projection.

        Only tokens in `keys` are attended to; without any of them, all are alike.
        """
        b, n, d = x.shape
        width = d // self.num_heads
        qkv = nn.Dense(3 * d, name="qkv")(x).reshape(b, n, 3, self.num_heads, width)
        q, k, v = jnp.transpose(qkv, (2, 0, 3, 1, 4))
        scores = masked(jnp.einsum("bhqd,bhkd->bhqk", q * width**-0.5, k), keys)
        pooled = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), v)
        return nn.Dense(d, name="proj")(pooled.swapaxes(1, 2).reshape(b, n, d))


def masked(
    scores: Float[Array, "B H N N"], keys: Bool[Array, "B N"] | None
) -> Float[Array, "B H N N"]:
    """The lowest number for keys that must not be attended to.

    It is finite, so that a row without any key is no NaN.
    """
    if keys is None:
        return scores
    return jnp.where(keys[:, None, None], scores, jnp.finfo(scores.dtype).min)


class Mlp(nn.Module):
    """Two linear maps around an exact (erf) GELU."""

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """fc2(gelu(fc1(x)))."""
        inner = nn.gelu(nn.Dense(self.hidden, name="fc1")(x), approximate=False)
        return nn.Dense(x.shape[-1], name="fc2")(inner)


class PostNormBlock(nn.Module):
    """A block that normalises after each residual sum, as in data2vec."""

    num_heads: int
    hidden: int
    epsilon: float

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """LN2(u + MLP(u)), where u = LN1(x + Attention(x))."""
        attended = Attention(self.num_heads, name="attn")(x)
        u = layer_norm(self.epsilon, "norm1")(x + attended)
        return layer_norm(self.epsilon, "norm2")(u + Mlp(self.hidden, name="mlp")(u))


class PreNormBlock(nn.Module):
    """A block that normalises in front of attention and MLP, as in ViT."""

    num_heads: int
    hidden: int
    epsilon: float

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], keys: Bool[Array, "B N"] | None = None
    ) -> Float[Array, "B N D"]:
        """`u + MLP(LN2(u))`, where `u = x + Attention(LN1(x))`."""
        normalised = layer_norm(self.epsilon, "norm1")(x)
        u = x + Attention(self.num_heads, name="attn")(normalised, keys)
        return u + Mlp(self.hidden, name="mlp")(layer_norm(self.epsilon, "norm2")(u))


def patchify(
    spectrogram: Float[Array, "B frames mels"], size: int
) -> Float[Array, "B T F {size}*{size}"]:
    """Square patches without overlap, pixels in (time, mel) order.

    A product with these rows is the convolution of the references with kernel and
    stride `size`. Frames that fill no patch are dropped, as the convolution does.
    """
    b, frames, mels = spectrogram.shape
    t, f = frames // size, mels // size
    x = spectrogram[:, : t * size, : f * size].reshape(b, t, size, f, size)
    return x.transpose(0, 1, 3, 2, 4).reshape(b, t, f, size * size)
