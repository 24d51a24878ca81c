"""The tensors of vision transformers over spectrograms, named as in timm.

AudioMAE and ASiT use these names as they are; EAT shares the blocks.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import count_blocks
from unmute_jax.weights.mapping import (
    Leaf,
    Shape,
    check_layout,
    flax_leaf,
    linear_shapes,
    norm_shapes,
    size_of,
    vit_block_shapes,
)

PATCH = 16
BANDS = 8  # patches over the 128 mel bins
HEAD_WIDTH = 64

_BLOCK = re.compile(r"blocks\.(\d{1,4})\.")
# Names of EAT and of timm, and the parameters they become.
_CLS = ("extra_tokens", "cls_token")
_POSITIONS = ("fixed_positional_encoder.positions", "pos_embed")
_PATCH_EMBED = ("local_encoder.proj.", "patch_embed.proj.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What tensor shapes tell about a network.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        positions: Rows of the position table, that of the class token included.
        classes: Outputs of the head; None without one.
    """

    width: int
    depth: int
    hidden: int
    positions: int
    classes: int | None = None


def usual_heads(sizes: Sizes) -> int:
    """Heads are 64 wide in all published models."""
    return sizes.width // HEAD_WIDTH


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs.

    A pre-trained one ends in `norm`, a fine-tuned one has `fc_norm` and `head`.
    """
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
    """Those of all blocks."""
    blocks = [
        vit_block_shapes(f"blocks.{i}", sizes.width, sizes.hidden)
        for i in range(sizes.depth)
    ]
    return {name: shape for block in blocks for name, shape in block.items()}


def head_shapes(sizes: Sizes) -> dict[str, Shape]:
    """Those that fine-tuning added; none without classes."""
    if sizes.classes is None:
        return {}
    d = sizes.width
    return norm_shapes("fc_norm", d) | linear_shapes("head", d, sizes.classes)


def read_sizes(
    tensors: Mapping[str, np.ndarray],
    source: str,
    *,
    cls: str = "cls_token",
    positions: str = "pos_embed",
) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    Args:
        tensors: Under their canonical names.
        source: Of the tensors, for the message.
        cls: Name of the class token.
        positions: Name of the position table.

    Raises:
        InputError: A tensor that tells a size is missing or has too few axes.
    """

    def size(name: str, axis: int) -> int:
        return size_of(tensors, name, axis, source)

    return Sizes(
        width=size(cls, 2),
        depth=count_blocks(tensors, _BLOCK, source),
        hidden=size("blocks.0.mlp.fc1.weight", 0),
        positions=size(positions, 1),
        classes=size("head.weight", 0) if "head.weight" in tensors else None,
    )


def check_grid(sizes: Sizes, source: str) -> Sizes:
    """`sizes` itself: one position for the class token, 8 for each time step.

    Raises:
        InputError: The position table has another number of rows.
    """
    if sizes.positions <= 1 or (sizes.positions - 1) % BANDS:
        raise InputError(
            f"{source} holds another network: pos_embed has {sizes.positions} rows, "
            f"not 1 + {BANDS} n"
        )
    return sizes


def leaves(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], source: str
) -> Iterator[Leaf]:
    """Parameters of an `encoders.vit.VitNetwork` from canonical tensors, one by one.

    Raises:
        InputError: The tensors are not exactly those of `shapes`.
    """
    check_layout(tensors, shapes, source)
    return (_leaf(name, tensor) for name, tensor in tensors.items())


def _leaf(name: str, tensor: np.ndarray) -> Leaf:
    if name in _CLS:
        return ("cls",), tensor[0, 0]
    if name in _POSITIONS:
        return ("positions",), tensor[0]
    for prefix in _PATCH_EMBED:
        name = name.replace(prefix, "patch_embed.")
    *folders, last = _BLOCK.sub(r"blocks_\1.", name).split(".")
    leaf, array = flax_leaf(last, tensor)
    return (*folders, leaf), array


def draw(name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """A random tensor: what the references make of most of them, on every device.

    The patch embedding is Xavier-uniform, LayerNorms are the identity, other biases 0
    and everything else normal with sd 0.02.
    """
    if name.startswith(_PATCH_EMBED) and len(shape) > 1:
        bound = np.sqrt(6 / (shape[0] + PATCH * PATCH))
        return rng.uniform(-bound, bound, shape).astype(np.float32)
    if len(shape) == 1:
        fill = np.zeros if name.endswith(".bias") else np.ones
        return fill(shape, np.float32)
    return np.float32(0.02) * rng.standard_normal(shape, np.float32)


def sine_table(indices: tuple[np.ndarray, np.ndarray], width: int) -> np.ndarray:
    """Sines and cosines of two indices per row, `[rows, width]` float32.

    Each half of the channels holds the sines, then the cosines, of one index times
    10000^(-k / (width / 4)).
    """
    if width % 4:
        raise InputError(f"the position table needs a width of 4 n, not {width}")
    omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [np.outer(index, omega) for index in indices]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate(waves, axis=1).astype(np.float32)
