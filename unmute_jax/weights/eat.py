"""The tensors of EAT checkpoints, and of SSLAM's, which has the same network.

Four layouts hold the same tensors: fairseq pre-trained and fine-tuned, and both again
as re-published on Hugging Face. All are renamed to the Hugging Face names without their
leading `model.`. The decoder and the EMA teacher (`_ema`) are never read.

Source: github.com/cwx-worst-one/EAT, commit 06c1c34 (MIT).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.mapping import (
    Shape,
    check_layout,
    check_tensor,
    flax_leaf,
    linear_shapes,
    nested,
    norm_shapes,
    size_of,
    state_dict,
    vit_block_shapes,
)
from unmute_jax.weights.unpickle import lookup

PATCH = 16
BANDS = 8  # patches over the 128 mel bins

_MODALITY = "modality_encoders.IMAGE."  # The audio encoder, in spite of its name.
_BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """What tensor shapes tell about a network.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        positions: Rows of the position table, 8 per time step.
        classes: Outputs of the head; None without one.
    """

    width: int
    depth: int
    hidden: int
    positions: int
    classes: int | None = None


def base_sizes(*, width: int, depth: int) -> Sizes:
    """Sizes in the proportions of EAT-base, positions for 122.88 s."""
    return Sizes(width=width, depth=depth, hidden=4 * width, positions=768 * BANDS)


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    d, hidden = sizes.width, sizes.hidden
    shapes: dict[str, Shape] = {
        "extra_tokens": (1, 1, d),
        "local_encoder.proj.weight": (d, 1, PATCH, PATCH),
        "local_encoder.proj.bias": (d,),
        "fixed_positional_encoder.positions": (1, sizes.positions, d),
        **norm_shapes("pre_norm", d),
    }
    for i in range(sizes.depth):
        shapes |= vit_block_shapes(f"blocks.{i}", d, hidden)
    if sizes.classes is not None:
        shapes |= norm_shapes("fc_norm", d) | linear_shapes("head", d, sizes.classes)
    return shapes


def canonical(content: Any, source: str) -> dict[str, np.ndarray]:
    """The tensors of a file in any of the four layouts, under their canonical names.

    Args:
        content: Of a `weights.files.WeightsFile`.
        source: Of the content, for the message.

    Raises:
        InputError: The file holds no state dict of tensors.
    """
    renamed: dict[str, np.ndarray] = {}
    for name, tensor in state_dict(content, source).items():
        short = name.removeprefix("model.")
        short = short.replace(f"{_MODALITY}context_encoder.norm.", "pre_norm.")
        short = short.removeprefix(_MODALITY)
        if short == "_ema" or short.startswith("decoder."):
            continue
        if short in renamed:
            raise InputError(f"{source} holds {short} twice, once as {name}")
        renamed[short] = check_tensor(name, tensor, source)
    return renamed


def read_num_heads(content: Any) -> int | None:
    """The number of heads that a file states; tensor shapes do not tell it."""
    pretrained = ("cfg", "model", "num_heads")
    finetuned = ("cfg", "model", "pretrained_model_args", "model", "num_heads")
    for path in (finetuned, pretrained, ("config", "num_heads")):
        heads = lookup(content, *path)
        if isinstance(heads, int):
            return heads
    return None


def read_sizes(tensors: Mapping[str, np.ndarray], source: str) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    Raises:
        InputError: A tensor that tells a size is missing or has too few axes.
    """

    def size(name: str, axis: int) -> int:
        return size_of(tensors, name, axis, source)

    blocks = [int(m[1]) for name in tensors if (m := _BLOCK.match(name))]
    return Sizes(
        width=size("extra_tokens", 2),
        depth=max(blocks, default=-1) + 1,
        hidden=size("blocks.0.mlp.fc1.weight", 0),
        positions=size("fixed_positional_encoder.positions", 1),
        classes=size("head.weight", 0) if "head.weight" in tensors else None,
    )


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Tensors as the reference initialises them, the same on every device.

    Linear maps are normal with sd 0.02, biases 0, LayerNorms the identity, the patch
    embedding Xavier-uniform, the class token standard normal; positions are the fixed
    table.
    """
    rng = np.random.default_rng(seed)
    return {name: _draw(name, shape, rng) for name, shape in layout(sizes).items()}


def _draw(name: str, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if name == "fixed_positional_encoder.positions":
        return position_table(shape[1], shape[2])[None]
    if name == "extra_tokens":
        return rng.standard_normal(shape, np.float32)
    if name == "local_encoder.proj.weight":
        bound = np.sqrt(6 / (shape[0] + PATCH * PATCH))
        return rng.uniform(-bound, bound, shape).astype(np.float32)
    if len(shape) == 1:
        fill = np.zeros if name.endswith(".bias") else np.ones
        return fill(shape, np.float32)
    return np.float32(0.02) * rng.standard_normal(shape, np.float32)


def position_table(rows: int, width: int) -> np.ndarray:
    """Sines and cosines of (time, frequency), `[rows, width]` float32, time-major.

    The first half of the channels holds the frequency index. Published files store this
    table rounded through float16: theirs is read, never recomputed.
    """
    if width % 4:
        raise InputError(f"the position table needs a width of 4 n, not {width}")
    t, f = np.divmod(np.arange(rows), BANDS)
    omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
    angles = [np.outer(f, omega), np.outer(t, omega)]
    waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate(waves, axis=1).astype(np.float32)


def to_params(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> dict[str, Any]:
    """Parameters of `encoders.eat.EatNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of `layout(sizes)`.
    """
    check_layout(tensors, layout(sizes), source)
    return nested(_leaf(name, np.asarray(tensor)) for name, tensor in tensors.items())


def _leaf(name: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    if name == "extra_tokens":
        return ("cls",), tensor[0, 0]
    if name == "fixed_positional_encoder.positions":
        return ("positions",), tensor[0]
    name = _BLOCK.sub(r"blocks_\1.", name).replace("local_encoder.proj", "patch_embed")
    *folders, last = name.split(".")
    leaf, array = flax_leaf(last, tensor)
    return (*folders, leaf), array
