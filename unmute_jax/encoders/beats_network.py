"""Implements the network of BEATs, with gated relative positions.

Source: github.com/microsoft/unilm, folder beats, commit 158b811 (MIT).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from unmute_jax.encoders import blocks
from unmute_jax.encoders.attention import masked, multiply, pool
from unmute_jax.weights.beats import BANDS, GATES, PATCH, Sizes

EPSILON = 1e-5


class GatedAttention(nn.Module):
    """Self-attention with a bias for relative positions that each query gates."""

    num_heads: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        bias: Float[Array, "H N N"],
        keys: Bool[Array, "B N"] | None = None,
    ) -> Float[Array, "B N D"]:
        """Computes softmax(q k^T / sqrt(d) + gate bias) v, then the output projection.

        Only tokens in `keys` are attended to. The gate is a (b A - 1) + 2, where a and
        b are sigmoids of linear maps of the unscaled query, and A is a number per head.
        """
        b, n, d = x.shape
        width = d // self.num_heads
        qkv = blocks.Linear(3 * d, dtype=self.dtype, name="qkv")(x)
        parts = qkv.reshape(b, n, 3, self.num_heads, width)
        q, k, v = jnp.transpose(parts, (2, 0, 3, 1, 4))
        gates = blocks.Linear(GATES, name="gate")(q).reshape(b, -1, n, 2, GATES // 2)
        inner, outer = jnp.moveaxis(jax.nn.sigmoid(gates.sum(-1)), -1, 0)
        scale = self.param("gate_scale", nn.initializers.ones, (self.num_heads,))
        gate = inner * (outer * scale[None, :, None] - 1.0) + 2.0
        q, k, v = (x.astype(self.dtype) for x in (q * width**-0.5, k, v))
        scores = masked(multiply("bhqw,bhkw->bhqk", q, k), keys)
        pooled = pool(scores + gate[..., None] * bias[None], v)
        pooled = pooled.swapaxes(1, 2).reshape(b, n, d)
        return blocks.Linear(d, dtype=self.dtype, name="proj")(pooled)


class BeatsBlock(nn.Module):
    """A post-norm block whose residuals are scaled up by alpha (DeepNorm)."""

    num_heads: int
    hidden: int
    alpha: float
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B N D"],
        bias: Float[Array, "H N N"],
        keys: Bool[Array, "B N"] | None = None,
    ) -> Float[Array, "B N D"]:
        """Computes LN2(alpha u + MLP(u)), where u = LN1(alpha x + Attention(x))."""
        attention = GatedAttention(self.num_heads, self.dtype, name="attn")
        attended = attention(x, bias, keys)
        u = blocks.layer_norm(self.epsilon, "norm1")(self.alpha * x + attended)
        inner = blocks.Mlp(self.hidden, self.dtype, name="mlp")(u)
        return blocks.layer_norm(self.epsilon, "norm2")(self.alpha * u + inner)


class BeatsNetwork(nn.Module):
    """The transformer; position enters as a convolution and as a bias of attention.

    Both see the tokens as one sequence, frequency fastest.

    Attributes:
        sizes: Sizes of the tensors.
        epsilon: Epsilon of every LayerNorm.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Names the parameters as `weights.beats.BeatsCheckpoints` does."""
        sizes = self.sizes
        self.patch_embed = blocks.Linear(sizes.patch_width, use_bias=False)
        self.patch_norm = blocks.layer_norm(self.epsilon)
        self.project = blocks.Linear(sizes.width)
        # The kernel is even: the reference pads both ends alike and drops the last
        # output.
        before = sizes.kernel // 2
        self.position_conv = nn.Conv(
            sizes.width,
            (sizes.kernel,),
            padding=[(before, sizes.kernel - 1 - before)],
            feature_group_count=sizes.groups,
        )
        self.norm = blocks.layer_norm(self.epsilon)
        self.relative_positions = self.param(
            "relative_positions",
            nn.initializers.zeros,
            (sizes.buckets, sizes.num_heads),
        )
        alpha = (2 * sizes.depth) ** 0.25
        self.blocks = [
            BeatsBlock(sizes.num_heads, sizes.hidden, alpha, self.epsilon, self.dtype)
            for _ in range(sizes.depth)
        ]
        if sizes.classes is not None:
            self.head = blocks.Linear(sizes.classes)

    def embed(
        self,
        spectrogram: Float[Array, "B frames 128"],
        keys: Bool[Array, "B N"] | None = None,
    ) -> Float[Array, "B N D"]:
        """The input of the first block; tokens that are not in `keys` are zeroed."""
        patches = blocks.patchify(spectrogram, PATCH, BANDS)
        b, t, f, pixels = patches.shape
        x = self.patch_norm(self.patch_embed(patches.reshape(b, t * f, pixels)))
        x = self.project(x)
        if keys is not None:
            x = jnp.where(keys[:, :, None], x, 0.0)
        return self.norm(x + blocks.gelu(self.position_conv(x)))

    def position_bias(self, n: int) -> Float[Array, "H {n} {n}"]:
        """The bias of every (query, key) before the gates, the same in all blocks."""
        sizes = self.sizes
        distances = np.arange(1 - n, n)
        buckets = relative_buckets(distances, sizes.buckets, sizes.max_distance)
        of_distance = self.relative_positions[buckets]
        key, query = jnp.arange(n)[None, :], jnp.arange(n)[:, None]
        return jnp.moveaxis(of_distance[key - query + n - 1], -1, 0)

    def __call__(
        self,
        spectrogram: Float[Array, "B frames 128"],
        keys: Bool[Array, "B N"] | None = None,
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature, which is the last of them.

        With `keys`, other tokens neither reach the convolution nor are attended to.
        """
        x = self.embed(spectrogram, keys)
        bias = self.position_bias(x.shape[1])
        outputs = []
        for block in self.blocks:
            x = block(x, bias, keys)
            outputs.append(x)
        return outputs, x

    def classify(self, mean: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """Applies the head of a fine-tuned file; scores are before the sigmoid.

        The reference averages the scores of the tokens, which is equivalent.
        """
        return self.head(mean)


def relative_buckets(
    distances: np.ndarray, num_buckets: int, max_distance: int
) -> np.ndarray:
    """The row of the table of biases for each distance key - query, as in T5.

    Half of the rows are for keys behind the query. In each half, the first half is for
    exact distances, and the rest are spaced logarithmically up to `max_distance`.
    """
    half = num_buckets // 2
    exact = half // 2
    far = np.abs(distances)
    octaves = np.log(np.maximum(far, 1) / exact) / np.log(max_distance / exact)
    coarse = exact + np.trunc(octaves * (half - exact)).astype(np.int32)
    bucket = np.where(far < exact, far, np.minimum(coarse, half - 1))
    return (bucket + half * (distances > 0)).astype(np.int32)
