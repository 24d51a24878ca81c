"""EAT, the Efficient Audio Transformer (arXiv 2401.03497, IJCAI 2024).

Re-implemented from github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT); the published
weights are under the same licence.
"""

from __future__ import annotations

import functools
from typing import ClassVar

from jaxtyping import Array, Float

from unmute_jax.encoders import vit
from unmute_jax.encoders.vit_encoder import Input, VitEncoder
from unmute_jax.encoders.vit_family import PUBLISHED_SIZES, Family, Recipe
from unmute_jax.encoders.vit_family import build as build_family
from unmute_jax.encoders.vit_network import VitNetwork
from unmute_jax.weights import eat as checkpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

# 10, 5 and 1 s.
RECIPES = {
    "audioset": Recipe(1024, Input(mean=-4.268, std=4.569)),
    "esc50": Recipe(512, Input(mean=-6.627, std=5.359)),
    "speech_commands": Recipe(128, Input(mean=-6.846, std=5.565)),
}


class EatNetwork(VitNetwork):
    """The encoder: a LayerNorm in front of post-norm blocks, none behind them."""

    block = vit.PostNormBlock

    def setup(self) -> None:
        """Adds the first LayerNorm."""
        super().setup()
        self.pre_norm = vit.layer_norm(self.epsilon)

    @property
    def max_steps(self) -> int:
        """The positions are of a fixed table that is only ever cut."""
        return self.sizes.positions // BANDS

    def embed(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> Float[Array, "B N D"]:
        """The sequence in front of `pre_norm`: cls, then the tokens, time-major.

        The class token has no position of its own.
        """
        x = self.patches(spectrogram)
        return self.behind_cls(self.cls, x + self.positions[None, : x.shape[1]])

    def __call__(
        self, spectrogram: Float[Array, "B frames mels"]
    ) -> list[Float[Array, "B N D"]]:
        """The output of every block, cls first; the last one is the feature."""
        return self.run(self.pre_norm(self.embed(spectrogram)))


class EatEncoder(VitEncoder):
    """EAT, or another encoder with its network, with one set of weights."""

    version: ClassVar[int] = 1


ORIGIN = Origin(
    title="EAT",
    licence="MIT",
    citation="Chen et al., EAT: Self-Supervised Pre-Training with Efficient Audio "
    "Transformer, IJCAI 2024, arXiv 2401.03497",
    code="github.com/cwx-worst-one/EAT, commit 06c1c34",
    checkpoints=checkpoints,
    published=PUBLISHED_SIZES,
)

FAMILY = Family(encoder=EatEncoder, networks={"cut": EatNetwork}, recipes=RECIPES)

build = functools.partial(build_family, FAMILY)
