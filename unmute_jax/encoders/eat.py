"""EAT, the Efficient Audio Transformer (arXiv 2401.03497, IJCAI 2024).

Re-implemented from github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT); the published
weights are under the same licence.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Array, Float

from unmute_jax.audio.kaldi import KaldiFbank
from unmute_jax.encoders.blocks import PostNormBlock, layer_norm
from unmute_jax.encoders.vit_encoder import PUBLISHED_SIZES, Input, Recipe, VitEncoder
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.weights.eat import EatCheckpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

ORIGIN = Origin(
    title="EAT",
    licence="MIT",
    citation="Chen et al., EAT: Self-Supervised Pre-Training with Efficient Audio "
    "Transformer, IJCAI 2024, arXiv 2401.03497",
    code="github.com/cwx-worst-one/EAT, commit 06c1c34",
    checkpoints=EatCheckpoints(),
    published=PUBLISHED_SIZES,
)


class EatNetwork(VitNetwork):
    """A ViT with a LayerNorm in front of its post-norm blocks and none behind them."""

    block = PostNormBlock

    def setup(self) -> None:
        """Adds the first LayerNorm."""
        super().setup()
        self.pre_norm = layer_norm(self.epsilon)

    @property
    def max_steps(self) -> int:
        """The time steps of the position table, which is fixed and only ever cut."""
        return self.sizes.positions // BANDS

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The class token, which has no position, then patch tokens, time-major."""
        x = self.embed_patches(spectrogram)
        return self.prepend_cls(self.cls, x + self.positions[None, : x.shape[1]])

    def prepare(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Applies the first LayerNorm."""
        return self.pre_norm(x)


class EatEncoder(VitEncoder):
    """EAT with one set of weights. Clips of its recipes have 10, 5 and 1 s.

    `SslamEncoder` inherits these constants.
    """

    version: ClassVar[int] = 1
    filters: ClassVar = KaldiFbank(num_mels=128, window="hann")
    networks: ClassVar = {"cut": EatNetwork}
    recipes: ClassVar = {
        "audioset": Recipe(1024, Input(mean=-4.268, std=4.569)),
        "esc50": Recipe(512, Input(mean=-6.627, std=5.359)),
        "speech_commands": Recipe(128, Input(mean=-6.846, std=5.565)),
    }


build = EatEncoder.build
