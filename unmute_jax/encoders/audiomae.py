"""AudioMAE, masked autoencoders that listen (arXiv 2207.06405, NeurIPS 2022).

Re-implemented from github.com/facebookresearch/AudioMAE, commit of 2023-05-13, with the
blocks of timm 0.3.2. Its repository is under CC BY-NC 4.0: the weights must not be used
commercially.
"""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from unmute_jax.audio.kaldi import KaldiFbank
from unmute_jax.encoders.vit_encoder import PUBLISHED_SIZES, Input, Recipe, VitEncoder
from unmute_jax.encoders.vit_network import PreNormVit
from unmute_jax.tokens import Tokens
from unmute_jax.weights.audiomae import AudioMaeCheckpoints
from unmute_jax.weights.encoder_weights import Origin
from unmute_jax.weights.vit import BANDS

ORIGIN = Origin(
    title="AudioMAE",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Huang et al., Masked Autoencoders that Listen, NeurIPS 2022, arXiv "
    "2207.06405",
    code="github.com/facebookresearch/AudioMAE, commit of 2023-05-13",
    checkpoints=AudioMaeCheckpoints(),
    published=PUBLISHED_SIZES,
)


class AudioMaeNetwork(PreNormVit):
    """A ViT whose position table is cut as if it were a grid of 8 x time."""

    @property
    def max_steps(self) -> int:
        """The time steps of the position table."""
        return (self.sizes.positions - 1) // BANDS

    def fit_positions(
        self, rows: Float[Array, "N D"], steps: int
    ) -> Float[Array, "M D"]:
        """The table that pre-training would have made for `steps` time steps.

        The tokens are a grid of 64 x 8, yet the table holds 8 x 64 positions: cutting
        its second axis is what the reference does.
        """
        grid = rows.reshape(BANDS, -1, rows.shape[1])
        return grid[:, :steps].reshape(-1, rows.shape[1])


class AudioMaeEncoder(VitEncoder):
    """AudioMAE with one set of weights. Clips of its recipes have 10, 5 and 1 s.

    The last LayerNorm normalises the tokens of pre-trained weights. Fine-tuned weights
    have none: their tokens are the output of the last block.

    The published weights were trained on inputs of 1024 frames only. For fewer frames,
    cutting the position table is the only code path of the reference that works.
    """

    version: ClassVar[int] = 1
    filters: ClassVar = KaldiFbank(num_mels=128, window="hann")
    networks: ClassVar = {"cut": AudioMaeNetwork}
    recipes: ClassVar = {
        "audioset": Recipe(1024, Input(mean=-4.2677393, std=4.5689974)),
        "esc50": Recipe(512, Input(mean=-6.6268077, std=5.358466)),
        "speech_commands": Recipe(128, Input(mean=-6.845978, std=5.5654526)),
    }

    def head_input(self, tokens: Tokens) -> Float[Array, "B D"]:
        """The mean patch token: fine-tuning does not use the class token."""
        return jnp.asarray(tokens.patches).mean((1, 2))


build = AudioMaeEncoder.build
