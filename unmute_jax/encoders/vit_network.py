"""Vision transformers over spectrograms: what is the same in all of them."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.encoders.vit import (
    Linear,
    PostNormBlock,
    PreNormBlock,
    layer_norm,
    patchify,
)
from unmute_jax.weights.vit import BANDS, PATCH, Sizes

# Of every LayerNorm in all of these networks.
EPSILON = 1e-6


class VitNetwork(nn.Module):
    """Patch embedding, positions, blocks; of fine-tuned weights `fc_norm` and `head`.

    Attributes:
        sizes: Of the tensors.
        num_heads: Attention heads.
        epsilon: Of every LayerNorm.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON
    dtype: Any = jnp.float32

    block: ClassVar[type[PreNormBlock | PostNormBlock]]

    def setup(self) -> None:
        """Parameters named as `weights.vit.to_params` names them."""
        sizes = self.sizes
        shape = (sizes.positions, sizes.width)
        self.positions = self.param("positions", nn.initializers.zeros, shape)
        self.cls = self.param("cls", nn.initializers.zeros, shape[1:])
        self.patch_embed = Linear(sizes.width)
        self.blocks = [
            self.block(self.num_heads, sizes.hidden, self.epsilon, self.dtype)
            for _ in range(sizes.depth)
        ]
        if sizes.classes is not None:
            self.fc_norm = layer_norm(self.epsilon)
            self.head = Linear(sizes.classes)

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


class PreNormVit(VitNetwork):
    """The ViT of timm: a class token with a position of its own, pre-norm blocks.

    Pre-trained weights end in a LayerNorm; fine-tuning has put `fc_norm` in its place,
    which is of the head.
    """

    block = PreNormBlock

    def setup(self) -> None:
        """Adds the last LayerNorm."""
        super().setup()
        if self.sizes.classes is None:
            self.norm = layer_norm(self.epsilon)

    @abc.abstractmethod
    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """Positions of the patches in `steps` time steps, from all stored ones."""

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The input of the first block."""
        x = self.patches(spectrogram)
        rows = self.fit_positions(self.positions[1:], x.shape[1] // BANDS)
        return self.behind_cls(self.cls + self.positions[0], x + rows[None])

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Normalised, of pre-trained weights."""
        return self.norm(x) if self.sizes.classes is None else x
