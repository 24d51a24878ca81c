"""AudioMAE, masked autoencoders that listen (arXiv 2207.06405, NeurIPS 2022).

Re-implemented from github.com/facebookresearch/AudioMAE, commit of 2023-05-13, with the
blocks of timm 0.3.2. Its repository is under CC BY-NC 4.0: the weights must not be used
commercially.
"""

from __future__ import annotations

import functools
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.encoders.vit_encoder import Input, VitEncoder
from unmute_jax.encoders.vit_family import PUBLISHED_SIZES, Family, Recipe
from unmute_jax.encoders.vit_family import build as build_family
from unmute_jax.encoders.vit_network import PreNormVit
from unmute_jax.tokens import Tokens
from unmute_jax.weights import audiomae as checkpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

# 10, 5 and 1 s. The published weights have only ever seen 1024 frames; for fewer, the
# reference has no working path but a cut of its position table.
RECIPES = {
    "audioset": Recipe(1024, Input(mean=-4.2677393, std=4.5689974)),
    "esc50": Recipe(512, Input(mean=-6.6268077, std=5.358466)),
    "speech_commands": Recipe(128, Input(mean=-6.845978, std=5.5654526)),
}


class AudioMaeNetwork(PreNormVit):
    """A ViT whose position table is cut as if it were of a grid of 8 x time."""

    @property
    def max_steps(self) -> int:
        """All that the table is for."""
        return (self.sizes.positions - 1) // BANDS

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The table that pre-training would have made for so many steps.

        The tokens are 64 x 8, yet the table is of 8 x 64 positions: cutting its second
        axis is what the reference does.
        """
        grid = rows.reshape(BANDS, -1, rows.shape[1])
        return grid[:, :steps].reshape(-1, rows.shape[1])


class AudioMaeEncoder(VitEncoder):
    """AudioMAE with one set of weights.

    The tokens of pre-trained weights are normalised by the last LayerNorm. Fine-tuned
    weights have none: their tokens are the output of the last block.
    """

    version: ClassVar[int] = 1

    def summary(self, tokens: Tokens) -> Float[Array, "B D"]:
        """The mean patch token; fine-tuning left out the class token."""
        return jnp.asarray(tokens.patches).mean((1, 2))


ORIGIN = Origin(
    title="AudioMAE",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Huang et al., Masked Autoencoders that Listen, NeurIPS 2022, arXiv "
    "2207.06405",
    code="github.com/facebookresearch/AudioMAE, commit of 2023-05-13",
    checkpoints=checkpoints,
    published=PUBLISHED_SIZES,
)

FAMILY = Family(
    encoder=AudioMaeEncoder, networks={"cut": AudioMaeNetwork}, recipes=RECIPES
)

build = functools.partial(build_family, FAMILY)
