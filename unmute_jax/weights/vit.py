"""Checkpoints of vision transformers over spectrograms, with the names of timm.

AudioMAE and ASiT use these names as they are; EAT shares the blocks and the head.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Checkpoints, Sizes
from unmute_jax.weights.contents import EncoderTensors, count_blocks, size_of
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes

PATCH = 16
BANDS = 8  # patches over the 128 mel bins

BLOCKS = r"blocks\.(\d{1,4})\."
BLOCK_RULES = (
    Rule(rf"{BLOCKS}(norm[12])\.(weight|bias)", r"blocks_\1.\2.\3"),
    Rule(rf"{BLOCKS}attn\.(qkv|proj)\.(weight|bias)", r"blocks_\1.attn.\2.\3"),
    Rule(rf"{BLOCKS}mlp\.(fc[12])\.(weight|bias)", r"blocks_\1.mlp.\2.\3"),
)
HEAD_RULES = (Rule(r"(fc_norm|head)\.(weight|bias)", r"\1.\2"),)


class VitCheckpoints(Checkpoints):
    """Checkpoints of a ViT whose class token has a position of its own.

    A pre-trained network ends in `norm`, a fine-tuned one has `fc_norm` and `head`.
    """

    cls_name: ClassVar[str] = "cls_token"
    positions_name: ClassVar[str] = "pos_embed"
    rules = (
        Rule("cls_token", "cls", make=lambda x: x[0, 0]),
        Rule("pos_embed", "positions", make=lambda x: x[0]),
        Rule(r"patch_embed\.proj\.(weight|bias)", r"patch_embed.\1"),
        *BLOCK_RULES,
        Rule(r"norm\.(weight|bias)", r"norm.\1"),
        *HEAD_RULES,
    )

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes, and checks the position table.

        Raises:
            InputError: A tensor that shows a size is missing or misshapen.
        """
        sizes = self.sizes_of_shapes(found)
        if sizes.positions <= 1 or (sizes.positions - 1) % BANDS:
            raise InputError(
                f"{found.source} holds another network: pos_embed has "
                f"{sizes.positions} rows, not 1 + {BANDS} n"
            )
        return sizes

    def sizes_of_shapes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes alone.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes.
        """
        is_tuned = "head.weight" in found.tensors
        return Sizes(
            width=size_of(found, self.cls_name, 2),
            depth=count_blocks(found, BLOCKS),
            hidden=size_of(found, "blocks.0.mlp.fc1.weight", 0),
            positions=size_of(found, self.positions_name, 1),
            classes=size_of(found, "head.weight", 0) if is_tuned else None,
        )

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "cls_token": (1, 1, d),
            "pos_embed": (1, sizes.positions, d),
            "patch_embed.proj.weight": (d, 1, PATCH, PATCH),
            "patch_embed.proj.bias": (d,),
            **block_shapes(sizes),
        }
        if sizes.classes is None:
            return shapes | norm_shapes("norm", d)
        return shapes | head_shapes(sizes)


def block_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Returns the shapes of the tensors of all blocks by their names."""
    d, shapes = sizes.width, dict[str, Shape]()
    for i in range(sizes.depth):
        shapes |= {
            **norm_shapes(f"blocks.{i}.norm1", d),
            **norm_shapes(f"blocks.{i}.norm2", d),
            **linear_shapes(f"blocks.{i}.attn.qkv", d, 3 * d),
            **linear_shapes(f"blocks.{i}.attn.proj", d, d),
            **linear_shapes(f"blocks.{i}.mlp.fc1", d, sizes.hidden),
            **linear_shapes(f"blocks.{i}.mlp.fc2", sizes.hidden, d),
        }
    return shapes


def head_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Returns the shapes of the tensors that fine-tuning adds by their names."""
    if sizes.classes is None:
        return {}
    d = sizes.width
    return norm_shapes("fc_norm", d) | linear_shapes("head", d, sizes.classes)


def sine_table(indices: tuple[np.ndarray, np.ndarray], width: int) -> np.ndarray:
    """Returns sines and cosines of two indices per row, `[rows, width]` float32.

    Each half of the channels holds the sines, then the cosines, of one index times
    10000^(-k / (width / 4)).

    Raises:
        InputError: The width is no multiple of 4.
    """
    if width % 4:
        raise InputError(f"the position table needs a width of 4 n, not {width}")
    omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [np.outer(index, omega) for index in indices]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate(waves, axis=1).astype(np.float32)
