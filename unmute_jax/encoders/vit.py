"""Vision transformers over spectrograms: parts that the encoders share.

Written for speed on a CPU as well: query, key and value come from one matrix product,
and the heads are moved in front of the tokens before the two attention products.
"""

from __future__ import annotations

import abc
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.weights.vit import PATCH, Sizes

# Of every LayerNorm in all of these networks.
EPSILON = 1e-6


def layer_norm(epsilon: float, name: str | None = None) -> nn.LayerNorm:
    """LayerNorm with the two-pass variance, as PyTorch computes it.

    The one-pass form of flax loses digits where the mean is large against the spread.
    """
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


class Attention(nn.Module):
    """Multi-head self-attention; `qkv` holds query, key, value, each head-major."""

    num_heads: int

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """softmax(q k^T / sqrt(D / heads)) v, then the output projection."""
        b, n, d = x.shape
        width = d // self.num_heads
        qkv = nn.Dense(3 * d, name="qkv")(x).reshape(b, n, 3, self.num_heads, width)
        q, k, v = jnp.transpose(qkv, (2, 0, 3, 1, 4))
        scores = jnp.einsum("bhqd,bhkd->bhqk", q * width**-0.5, k)
        pooled = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), v)
        return nn.Dense(d, name="proj")(pooled.swapaxes(1, 2).reshape(b, n, d))


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
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """`u + MLP(LN2(u))`, where `u = x + Attention(LN1(x))`."""
        normalised = layer_norm(self.epsilon, "norm1")(x)
        u = x + Attention(self.num_heads, name="attn")(normalised)
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


class VitNetwork(nn.Module):
    """Patch embedding, positions, blocks; of fine-tuned weights `fc_norm` and `head`.

    Attributes:
        sizes: Of the tensors.
        num_heads: Attention heads.
        epsilon: Of every LayerNorm.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON

    block: ClassVar[type[PreNormBlock | PostNormBlock]]

    def setup(self) -> None:
        """Parameters named as `weights.vit.to_params` names them."""
        sizes = self.sizes
        shape = (sizes.positions, sizes.width)
        self.positions = self.param("positions", nn.initializers.zeros, shape)
        self.cls = self.param("cls", nn.initializers.zeros, shape[1:])
        self.patch_embed = nn.Dense(sizes.width)
        self.blocks = [
            self.block(self.num_heads, sizes.hidden, self.epsilon)
            for _ in range(sizes.depth)
        ]
        if sizes.classes is not None:
            self.fc_norm = layer_norm(self.epsilon)
            self.head = nn.Dense(sizes.classes)

    @property
    @abc.abstractmethod
    def max_steps(self) -> int | None:
        """The most time steps that there are positions for; None: any number."""

    @abc.abstractmethod
    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """Class token, then patch tokens, time-major, with their positions."""

    def __call__(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> list[Float[Array, "B N D"]]:
        """The output of every block, class token first."""
        return self.run(self.embed(spectrogram))

    def run(self, x: Float[Array, "B N D"]) -> list[Float[Array, "B N D"]]:
        """The output of every block, given the input of the first."""
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """From the output of the last block to the feature: here the same."""
        return x

    def encode(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature."""
        outputs = self(spectrogram)
        return outputs, self.finish(outputs[-1])

    def pool(self, summary: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """The input of the head."""
        return self.fc_norm(summary)

    def classify(self, summary: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """The head of a fine-tuned file; scores before the sigmoid."""
        return self.head(self.pool(summary))

    def patches(self, spectrogram: Float[Array, "B frames mels"]) -> Array:
        """Embedded patches `[B, T * F, D]`, time-major, and without positions."""
        x = self.patch_embed(patchify(spectrogram, PATCH))
        return x.reshape(len(x), -1, self.sizes.width)

    def behind_cls(self, cls: Float[Array, "D"], x: Float[Array, "B N D"]) -> Array:
        """The same class token in front of the tokens of every clip."""
        first = jnp.broadcast_to(cls, (len(x), 1, self.sizes.width))
        return jnp.concatenate([first, x], axis=1)
