"""Checkpoints of EAT, and of SSLAM, which has the same network.

Four layouts hold the same tensors: fairseq pre-trained and fine-tuned, and both again
as re-published on Hugging Face. The canonical names are those of Hugging Face without
their leading `model.`.

Source: github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.contents import EncoderTensors, select, state_dict
from unmute_jax.weights.mapping import Rule, Shape, norm_shapes
from unmute_jax.weights.vit import (
    BANDS,
    BLOCK_RULES,
    HEAD_RULES,
    PATCH,
    VitCheckpoints,
    block_shapes,
    head_shapes,
    sine_table,
)

_MODALITY = "modality_encoders.IMAGE."  # The audio encoder, in spite of its name.
_IGNORED = {
    "_ema": "teacher of the pre-training; the student is the encoder",
    "decoder.": "decoder of the pre-training",
}


class EatCheckpoints(VitCheckpoints):
    """Checkpoints of EAT; the position table of the base model is for 122.88 s."""

    base_positions = 768 * BANDS
    cls_name = "extra_tokens"
    positions_name = "fixed_positional_encoder.positions"
    heads_paths = (
        ("cfg", "model", "pretrained_model_args", "model", "num_heads"),
        ("cfg", "model", "num_heads"),
        ("config", "num_heads"),
    )
    rules = (
        Rule("extra_tokens", "cls", make=lambda x: x[0, 0]),
        Rule(r"fixed_positional_encoder\.positions", "positions", make=lambda x: x[0]),
        Rule(r"local_encoder\.proj\.(weight|bias)", r"patch_embed.\1"),
        Rule(r"pre_norm\.(weight|bias)", r"pre_norm.\1"),
        *BLOCK_RULES,
        *HEAD_RULES,
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the student in a file of any of the four layouts.

        Raises:
            InputError: The file holds no state dict of tensors.
        """
        state = state_dict(content, source)
        is_fairseq = any(_MODALITY in name for name in state.tensors)
        return select(
            state,
            layout="fairseq" if is_fairseq else "Hugging Face",
            ignored=_IGNORED,
            rename=_rename,
        )

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes; the position table may have any length.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes.
        """
        return self.sizes_of_shapes(found)

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        return {
            "extra_tokens": (1, 1, d),
            "local_encoder.proj.weight": (d, 1, PATCH, PATCH),
            "local_encoder.proj.bias": (d,),
            "fixed_positional_encoder.positions": (1, sizes.positions, d),
            **norm_shapes("pre_norm", d),
            **block_shapes(sizes),
            **head_shapes(sizes),
        }

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor, as the reference initialises it.

        The class token is standard normal; the positions are the fixed table.
        """
        if name == self.positions_name:
            return position_table(shape[1], shape[2])[None]
        if name == self.cls_name:
            return rng.standard_normal(shape, np.float32)
        return super().draw(name, shape, rng)


def _rename(name: str) -> str:
    name = name.removeprefix("model.")
    name = name.replace(f"{_MODALITY}context_encoder.norm.", "pre_norm.")
    return name.removeprefix(_MODALITY)


def position_table(rows: int, width: int) -> np.ndarray:
    """Returns sines and cosines of time and frequency, `[rows, width]` float32.

    Rows are time-major. The first half of the channels holds the frequency index.
    Published files store this table rounded through float16: theirs is read, never
    recomputed.
    """
    t, f = np.divmod(np.arange(rows), BANDS)
    return sine_table((f, t), width)
