"""Checkpoints of AST, of its authors and of Hugging Face.

The authors save the state dict of a parallel model with names of timm, and with two
heads of DeiT that AST never uses. Hugging Face splits query, key and value. The two
networks differ in the epsilons of their LayerNorms, so those are part of the sizes.

Source: github.com/YuanGongND/ast, commit 31088be (BSD-3-Clause), and transformers
5.24.0 (Apache-2.0).
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights import checkpoints
from unmute_jax.weights.contents import (
    EncoderTensors,
    count_blocks,
    select,
    size_of,
    state_dict,
    stated_int,
)
from unmute_jax.weights.inert import lookup
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes
from unmute_jax.weights.vit import BLOCK_RULES, BLOCKS, PATCH, block_shapes

MELS = 128
SPECIAL = 2  # the class token and the distillation token
# Rows of the position table of the published files -> (stride, frames of the input).
PUBLISHED_POSITIONS = {
    1214: (10, 1024),
    852: (12, 1024),
    659: (14, 1024),
    514: (16, 1024),
    146: (10, 128),
}

_IGNORED = {
    "v.head.": "head of DeiT, for images",
    "v.head_dist.": "head of DeiT, for images",
}
_HUGGING_FACE = (
    (r"embeddings\.cls_token$", r"v.cls_token"),
    (r"embeddings\.distillation_token$", r"v.dist_token"),
    (r"embeddings\.position_embeddings$", r"v.pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", r"v.patch_embed.proj."),
    (r"encoder\.layer\.(\d+)\.layernorm_before\.", r"v.blocks.\1.norm1."),
    (r"encoder\.layer\.(\d+)\.layernorm_after\.", r"v.blocks.\1.norm2."),
    (
        r"encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.",
        r"v.blocks.\1.attn.\2.",
    ),
    (
        r"encoder\.layer\.(\d+)\.attention\.output\.dense\.",
        r"v.blocks.\1.attn.proj.",
    ),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"v.blocks.\1.mlp.fc1."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"v.blocks.\1.mlp.fc2."),
    (r"layernorm\.", r"v.norm."),
    (r"classifier\.layernorm\.", r"mlp_head.0."),
    (r"classifier\.dense\.", r"mlp_head.1."),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes(checkpoints.Sizes):
    """The sizes of a network, and what else its file tells.

    Attributes:
        stride: Distance of the starts of two patches, in frames and in mel bands.
        frames: Length of the input that the positions are for.
        epsilon_digits: n, where the epsilon of every LayerNorm but the last is 10^-n.
        head_epsilon_digits: n, where the epsilon of the LayerNorm of the head is 10^-n.
    """

    stride: int
    frames: int
    epsilon_digits: int
    head_epsilon_digits: int

    @property
    def bands(self) -> int:
        """F, the number of patches over the mel bands."""
        return (MELS - PATCH) // self.stride + 1

    @property
    def steps(self) -> int:
        """T, the number of time steps that the positions are for."""
        return (self.frames - PATCH) // self.stride + 1


# Of the authors, whose blocks are those of timm and whose head is PyTorch's own.
_AUTHORS_EPSILONS = {"epsilon_digits": 6, "head_epsilon_digits": 5}


class AstCheckpoints(checkpoints.Checkpoints):
    """Checkpoints of AST; the position table of the base model is for 10.24 s."""

    sizes_type = Sizes
    base_positions = 1214
    heads_paths = (("config", "num_attention_heads"),)
    rules = (
        Rule("cls_token", "cls", make=lambda x: x[0, 0]),
        Rule("dist_token", "distillation", make=lambda x: x[0, 0]),
        Rule("pos_embed", "positions", make=lambda x: x[0]),
        # Patches are (time, mel) here, (mel, time) there.
        Rule(
            r"patch_embed\.proj\.weight",
            "patch_embed.weight",
            make=lambda x: x.swapaxes(2, 3).reshape(len(x), -1),
        ),
        Rule(r"patch_embed\.proj\.bias", "patch_embed.bias"),
        *BLOCK_RULES,
        Rule(r"norm\.(weight|bias)", r"norm.\1"),
        Rule(r"mlp_head\.0\.(weight|bias)", r"fc_norm.\1"),
        Rule(r"mlp_head\.1\.(weight|bias)", r"head.\1"),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder in a file of either layout.

        Raises:
            InputError: The file holds no state dict of tensors, or parts of an
                attention.
        """
        state = state_dict(content, source)
        names = [_canonical(name) for name in state.tensors]
        is_hub = any(".attn.query." in name for name in names)
        found = select(
            state,
            layout="Hugging Face" if is_hub else "the authors' training script",
            ignored=_IGNORED,
            rename=_canonical,
        )
        tensors = {n.removeprefix("v."): t for n, t in found.tensors.items()}
        for name in [n for n in tensors if ".attn.query." in n]:
            parts = [name.replace("query", part) for part in ("query", "key", "value")]
            if missing := [part for part in parts if part not in tensors]:
                raise InputError(f"{source} does not fit the network; lacks {missing}")
            joined = np.concatenate([tensors.pop(part) for part in parts])
            tensors[name.replace("query", "qkv")] = joined
        return dataclasses.replace(found, tensors=tensors)

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes, and the rest off the configuration.

        Without a configuration, the number of positions tells the stride of the
        published files, and the layout the epsilons.

        Raises:
            InputError: A tensor that shows a size is missing or misshapen, or nothing
                tells the stride.
        """
        head = "mlp_head.1.weight"
        positions = size_of(found, "pos_embed", 1)
        stride, frames = _geometry(found, positions)
        sizes = Sizes(
            width=size_of(found, "cls_token", 2),
            depth=count_blocks(found, BLOCKS),
            hidden=size_of(found, "blocks.0.mlp.fc1.weight", 0),
            positions=positions,
            classes=size_of(found, head, 0) if head in found.tensors else None,
            stride=stride,
            frames=frames,
            **_epsilons(found),
        )
        if positions != SPECIAL + sizes.bands * sizes.steps:
            raise InputError(
                f"{found.source} has {positions} positions, but a stride of {stride} "
                f"over {frames} frames needs {SPECIAL + sizes.bands * sizes.steps}"
            )
        return sizes

    def base_sizes(self, width: int, depth: int, num_heads: int) -> Sizes:
        """Returns the sizes of a network with a patch every ten frames, no head."""
        stride, frames = PUBLISHED_POSITIONS[self.base_positions]
        return Sizes(
            width=width,
            depth=depth,
            hidden=4 * width,
            positions=self.base_positions,
            stride=stride,
            frames=frames,
            **_AUTHORS_EPSILONS,
        )

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d = sizes.width
        shapes: dict[str, Shape] = {
            "cls_token": (1, 1, d),
            "dist_token": (1, 1, d),
            "pos_embed": (1, sizes.positions, d),
            "patch_embed.proj.weight": (d, 1, PATCH, PATCH),
            "patch_embed.proj.bias": (d,),
            **block_shapes(sizes),
            **norm_shapes("norm", d),
        }
        if sizes.classes is not None:
            shapes |= norm_shapes("mlp_head.0", d)
            shapes |= linear_shapes("mlp_head.1", d, sizes.classes)
        return shapes


def _canonical(name: str) -> str:
    """The name of a tensor in a file of the authors, without `module.`."""
    name = name.removeprefix("module.").removeprefix("audio_spectrogram_transformer.")
    for pattern, canonical in _HUGGING_FACE:
        new, count = re.subn(rf"^{pattern}", canonical, name)
        if count:
            return new
    return name


def _geometry(found: EncoderTensors, positions: int) -> tuple[int, int]:
    """The stride and the number of frames that the positions are for."""
    stated = [
        stated_int(found.content, [("config", name) for name in names])
        for names in (
            ("time_stride",),
            ("frequency_stride",),
            ("max_length", "time_dimension"),
        )
    ]
    along_time, along_mels, frames = stated
    if along_time and along_mels and frames:
        if along_time != along_mels:
            raise InputError(
                f"{found.source} has patches every {along_time} frames and every "
                f"{along_mels} mel bands; only equal strides are supported"
            )
        return along_time, frames
    if positions not in PUBLISHED_POSITIONS:
        known = ", ".join(map(str, PUBLISHED_POSITIONS))
        raise InputError(
            f"{found.source} has {positions} positions, which do not tell its stride "
            f"(published files have {known}): put a config.json with time_stride, "
            "frequency_stride and max_length beside it"
        )
    return PUBLISHED_POSITIONS[positions]


def _epsilons(found: EncoderTensors) -> dict[str, int]:
    """The epsilons of the implementation that wrote the file."""
    if not found.layout.startswith("Hugging Face"):
        return _AUTHORS_EPSILONS
    stated = lookup(found.content, "config", "layer_norm_eps")
    epsilon = 1e-12 if stated is None else stated
    is_number = type(epsilon) is float and 0 < epsilon < 1
    digits = round(-math.log10(epsilon)) if is_number else 0
    if digits < 1 or not math.isclose(10.0**-digits, epsilon, rel_tol=1e-6):
        raise InputError(
            f"{found.source}: layer_norm_eps must be a power of ten such as 1e-12, not "
            f"{epsilon!r:.40}"
        )
    return {"epsilon_digits": digits, "head_epsilon_digits": digits}
