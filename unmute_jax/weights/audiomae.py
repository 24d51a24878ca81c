"""Checkpoints of AudioMAE, pre-trained and fine-tuned.

The training scripts save `{"model": tensors, ...}`; copies for timm hold the tensors
alone.

Source: github.com/facebookresearch/AudioMAE, commit of 2023-05-13.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmute_jax.weights.contents import EncoderTensors, select, state_dict
from unmute_jax.weights.mapping import Shape
from unmute_jax.weights.vit import BANDS, VitCheckpoints, sine_table

_IGNORED = {
    "decoder_": "decoder of the pre-training",
    "encoder_emb.": "an experiment of the authors",
    "mask_token": "decoder of the pre-training",
}


class AudioMaeCheckpoints(VitCheckpoints):
    """Checkpoints of AudioMAE; the position table of the base model is for 10.24 s."""

    base_positions = 1 + 64 * BANDS

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder.

        Raises:
            InputError: The file holds no state dict of tensors.
        """
        state = state_dict(content, source)
        return select(state, layout="names of timm", ignored=_IGNORED)

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor; the positions are the fixed table."""
        # All tensors are drawn, so that the others do not depend on the table.
        drawn = super().draw(name, shape, rng)
        if name != "pos_embed":
            return drawn
        table = position_table(shape[1] - 1, shape[2])
        # The position of the class token is zero.
        return np.pad(table, ((1, 0), (0, 0)))[None]


def position_table(rows: int, width: int) -> np.ndarray:
    """Returns the position table of the reference, `[rows, width]` float32.

    It was made for a grid of 8 x 64, while the tokens come as 64 x 8. So its axes are
    not time and frequency, but every token has a row of its own, and the weights were
    trained with it.
    """
    row, column = np.divmod(np.arange(rows), rows // BANDS)
    return sine_table((column, row), width)
