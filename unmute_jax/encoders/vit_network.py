"""Implements what all vision transformers over spectrograms have in common."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.encoders.blocks import (
    Linear,
    PreNormBlock,
    layer_norm,
    patchify,
)
from unmute_jax.weights.vit import BANDS, PATCH, Sizes

# The epsilon of every LayerNorm in all of these networks.
EPSILON = 1e-6


class VitNetwork(nn.Module):
    """Patch embedding, positions and blocks, with `fc_norm` and `head` if fine-tuned.

    Attributes:
        sizes: Sizes of the tensors.
        num_heads: Number of attention heads.
        epsilon: Epsilon of every LayerNorm but that of the head.
        head_epsilon: Epsilon of the LayerNorm of the head.
        dtype: Type of the factors of products in the blocks.
    """

    sizes: Sizes
    num_heads: int
    epsilon: float = EPSILON
    head_epsilon: float = EPSILON
    dtype: Any = jnp.float32

    # A module with the fields of `PreNormBlock`.
    block: ClassVar[type[Any]]

    def setup(self) -> None:
        """Names the parameters as `weights.vit.VitCheckpoints` does."""
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
            self.fc_norm = layer_norm(self.head_epsilon)
            self.head = Linear(sizes.classes)

    @property
    def stride(self) -> int:
        """Distance of the starts of two patches, in frames and in mel bands."""
        return PATCH

    @property
    def bands(self) -> int:
        """F, the number of patches over the mel bands."""
        return BANDS

    @property
    @abc.abstractmethod
    def max_steps(self) -> int | None:
        """The most time steps that have positions; None for any number."""

    @abc.abstractmethod
    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The class token, then patch tokens, time-major, with their positions."""

    def prepare(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Maps the embedding to the input of the first block: here they are equal."""
        return x

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Maps the output of the last block to the feature: here they are equal."""
        return x

    def split(
        self, x: Float[Array, "B N D"]
    ) -> tuple[Float[Array, "B T F D"], Float[Array, "B D"]]:
        """Splits tokens into those of the patches and the class token."""
        b, _, d = x.shape
        return x[:, 1:].reshape(b, -1, self.bands, d), x[:, 0]

    def __call__(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> tuple[list[Float[Array, "B N D"]], Float[Array, "B N D"]]:
        """The output of every block, and the feature, with the class token first."""
        x = self.prepare(self.embed(spectrogram))
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs, self.finish(x)

    def normalise_head_input(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Applies the LayerNorm in front of the head of a fine-tuned file."""
        return self.fc_norm(x)

    def classify(self, x: Float[Array, "B D"]) -> Float[Array, "B C"]:
        """Applies the head of a fine-tuned file; scores are before the sigmoid."""
        return self.head(self.normalise_head_input(x))

    def embed_patches(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """Embedded patches, time-major, without positions and class token."""
        x = self.patch_embed(patchify(spectrogram, PATCH, BANDS))
        return x.reshape(len(x), -1, self.sizes.width)

    def prepend_cls(
        self, cls: Float[Array, "D"], x: Float[Array, "B N D"]
    ) -> Float[Array, "B N+1 D"]:
        """Puts the same class token in front of the tokens of every clip."""
        first = jnp.broadcast_to(cls, (len(x), 1, self.sizes.width))
        return jnp.concatenate([first, x], axis=1)


class PreNormVit(VitNetwork):
    """The ViT of timm: pre-norm blocks, and a class token with its own position.

    Pre-trained weights end in a LayerNorm. Fine-tuned weights have `fc_norm` in its
    place, which belongs to the head.
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
        """Maps all stored positions of patches to those of `steps` time steps."""

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The class token, then patch tokens, time-major, with their positions."""
        x = self.embed_patches(spectrogram)
        rows = self.fit_positions(self.positions[1:], x.shape[1] // BANDS)
        return self.prepend_cls(self.cls + self.positions[0], x + rows[None])

    def finish(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Applies the last LayerNorm of pre-trained weights."""
        return self.norm(x) if self.sizes.classes is None else x
