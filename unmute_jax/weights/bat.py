"""Checkpoints of BAT: of the hub, of the authors' download and of their trainer.

The student is the encoder. A training file holds the teacher and the decoder beside it.

Source: github.com/houtan-ghaffari/BAT_ICML2026, commit cc92282 (MIT).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.audiomae import position_table
from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.contents import EncoderTensors, select, state_dict
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes
from unmute_jax.weights.vit import BANDS, BLOCKS, PATCH, VitCheckpoints, block_shapes

CHUNK = 64  # time steps that attend to each other: 10.24 s

# (width, depth) -> (name, attention heads); the base model alone is published.
PUBLISHED_SIZES = {
    (384, 12): ("small", 6),
    (768, 12): ("base", 12),
    (1024, 24): ("large", 16),
}

_DECODER = "decoder of the pre-training"
_TEACHER = "teacher of the pre-training; the student is the encoder"
_BESIDE = {
    "args": "options of the training; the number of heads is read from them",
    "config": "configuration; the number of heads is read from it",
    "decoder": _DECODER,
    "ema_encoder": _TEACHER,
    "optimized_steps": "state of the training",
    "step": "state of the training",
}
_IGNORED = {"student.decoder.": _DECODER, "teacher.": _TEACHER}


class BatCheckpoints(VitCheckpoints):
    """Checkpoints of BAT; the position table has no row for the class token."""

    base_positions = CHUNK * BANDS
    heads_paths = (("config", "num_attention_heads"), ("args", "num_heads"))
    rules = (
        Rule("cls_token", "cls", make=lambda x: x[0, 0]),
        Rule("pos_embed", "positions", make=lambda x: x[0]),
        Rule(r"patch_embed\.proj\.(weight|bias)", r"patch_embed.\1"),
        Rule(r"pre_norm\.(weight|bias)", r"pre_norm.\1"),
        Rule(rf"{BLOCKS}(norm[12])\.(weight|bias)", r"blocks_\1.\2.\3"),
        Rule(rf"{BLOCKS}attn\.(qkv|proj|gate)\.(weight|bias)", r"blocks_\1.attn.\2.\3"),
        Rule(rf"{BLOCKS}mlp\.(fc[12])\.(weight|bias)", r"blocks_\1.mlp.\2.\3"),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the student in a file of any layout.

        Raises:
            InputError: The file holds no state dict of tensors.
        """
        names = content if isinstance(content, dict) else {}
        key = next((k for k in ("encoder", "state_dict") if k in names), "model")
        state = state_dict(content, source, key=key, beside=_BESIDE)
        layouts = {
            "encoder": "the authors' trainer, student",
            "state_dict": "the authors' download, student",
            "model": "Hugging Face",
        }
        return select(
            state,
            layout=layouts[key],
            ignored=_IGNORED,
            rename=lambda name: name.removeprefix("student.encoder."),
        )

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes, or
                there are too few positions.
        """
        sizes = self.sizes_of_shapes(found)
        if sizes.positions < self.base_positions:
            raise InputError(
                f"{found.source} holds another network: pos_embed has "
                f"{sizes.positions} rows, not {self.base_positions}"
            )
        return sizes

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "cls_token": (1, 1, d),
            "pos_embed": (1, sizes.positions, d),
            "patch_embed.proj.weight": (d, 1, PATCH, PATCH),
            "patch_embed.proj.bias": (d,),
            **norm_shapes("pre_norm", d),
            **block_shapes(sizes),
        }
        for i in range(sizes.depth):
            shapes |= linear_shapes(f"blocks.{i}.attn.gate", d, d)
        return shapes

    def draw(self, name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Returns a random tensor; the positions are the fixed table of AudioMAE."""
        drawn = super().draw(name, shape, rng)
        return position_table(*shape[1:])[None] if name == "pos_embed" else drawn
