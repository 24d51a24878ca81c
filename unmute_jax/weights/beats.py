"""Checkpoints of BEATs, pre-trained or fine-tuned.

Canonical names are those of the file, with two exceptions: the table of relative
positions, which the reference ties over all blocks and writes once per block, is kept
once, and the newer names of a weight norm become the older ones.

Source: github.com/microsoft/unilm, folder beats, commit 158b811 (MIT).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Checkpoints
from unmute_jax.weights.contents import (
    EncoderTensors,
    count_blocks,
    positive_int,
    select,
    short,
    size_of,
    state_dict,
)
from unmute_jax.weights.inert import fields
from unmute_jax.weights.mapping import Rule, Shape, linear_shapes, norm_shapes

PATCH = 16
BANDS = 8  # patches over the 128 mel bins
GATES = 8  # outputs of `grep_linear`, in two groups of four

_BLOCK = r"encoder\.layers\.(\d{1,4})\."
_TABLE = "encoder.layers.0.self_attn.relative_attention_bias.weight"
_CONV = "encoder.pos_conv.0"
_CONV_NAMES = {
    f"{_CONV}.parametrizations.weight.original0": f"{_CONV}.weight_g",
    f"{_CONV}.parametrizations.weight.original1": f"{_CONV}.weight_v",
}

# Entry of the configuration in a file -> (value here, default of the reference).
STRUCTURE: Mapping[str, tuple[Any, Any]] = {
    "activation_fn": ("gelu", "gelu"),
    "conv_bias": (False, False),
    "deep_norm": (True, False),
    "gru_rel_pos": (True, False),
    "input_patch_size": (PATCH, -1),
    "layer_norm_first": (False, False),
    "relative_position_embedding": (True, False),
}
_MAX_DISTANCE, _DEFAULT_MAX_DISTANCE = 800, 1280


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes of a network, as far as tensor shapes and the configuration show them.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        num_heads: Attention heads.
        patch_width: Width of the patches before they are projected to D.
        kernel: Taps of the position convolution.
        groups: Groups of channels of the position convolution.
        buckets: Rows of the table of relative positions.
        max_distance: Distance from which on all distances share a bucket.
        classes: Number of outputs of the head; None without one.
    """

    width: int
    depth: int
    hidden: int
    num_heads: int
    patch_width: int
    kernel: int
    groups: int
    buckets: int
    max_distance: int
    classes: int | None = None


def _fold(g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The kernel `[tap, in, out]` of a weight norm that has one norm per tap."""
    g, v = g.astype(np.float32), v.astype(np.float64)
    weight = g * v / np.sqrt(np.square(v).sum((0, 1)))
    return weight.transpose(2, 1, 0)


def _qkv(name: str) -> str:
    return rf"encoder.layers.\1.self_attn.{name}_proj.\2"


class BeatsCheckpoints(Checkpoints):
    """Checkpoints of BEATs.

    Attributes:
        structure: What a configuration may say of the network.
    """

    structure: ClassVar[Mapping[str, tuple[Any, Any]]] = STRUCTURE
    sizes_type = Sizes
    rules = (
        Rule(re.escape(_TABLE), "relative_positions", make=np.asarray),
        Rule(
            rf"{re.escape(_CONV)}\.weight_g",
            "position_conv.kernel",
            others=(f"{_CONV}.weight_v",),
            make=_fold,
        ),
        Rule(rf"{re.escape(_CONV)}\.bias", "position_conv.bias"),
        Rule(r"patch_embedding\.(weight)", r"patch_embed.\1"),
        Rule(r"layer_norm\.(weight|bias)", r"patch_norm.\1"),
        Rule(r"post_extract_proj\.(weight|bias)", r"project.\1"),
        Rule(
            rf"{_BLOCK}self_attn\.q_proj\.(weight|bias)",
            r"blocks_\1.attn.qkv.\2",
            others=(_qkv("k"), _qkv("v")),
            make=lambda *parts: np.concatenate(parts),
        ),
        Rule(rf"{_BLOCK}self_attn\.out_proj\.(weight|bias)", r"blocks_\1.attn.proj.\2"),
        Rule(
            rf"{_BLOCK}self_attn\.grep_linear\.(weight|bias)", r"blocks_\1.attn.gate.\2"
        ),
        Rule(
            rf"{_BLOCK}self_attn\.grep_a",
            r"blocks_\1.attn.gate_scale",
            make=lambda x: x.reshape(-1),
        ),
        Rule(rf"{_BLOCK}self_attn_layer_norm\.(weight|bias)", r"blocks_\1.norm1.\2"),
        Rule(rf"{_BLOCK}(fc[12])\.(weight|bias)", r"blocks_\1.mlp.\2.\3"),
        Rule(rf"{_BLOCK}final_layer_norm\.(weight|bias)", r"blocks_\1.norm2.\2"),
        Rule(r"encoder\.layer_norm\.(weight|bias)", r"norm.\1"),
        Rule(r"predictor\.(weight|bias)", r"head.\1"),
    )

    def find_tensors(self, content: Any, source: str) -> EncoderTensors:
        """Finds the tensors of the encoder, the table of relative positions once.

        Raises:
            InputError: The file holds no state dict of tensors, or tables that differ.
        """
        return with_one_table(
            select(
                state_dict(content, source),
                layout="the authors' code",
                ignored={},
                rename=older_name,
            )
        )

    def read_sizes(self, found: EncoderTensors) -> Sizes:
        """Reads the sizes off the shapes and the configuration in the file.

        The defaults of the reference are not the published network. So a configuration
        that lacks an entry means the default, while a file without any configuration is
        taken as published.

        Raises:
            InputError: A tensor that shows a size is missing or has too few axes, or
                the configuration is of another network.
        """

        def size(name: str, axis: int) -> int:
            return size_of(found, name, axis)

        width = size("post_extract_proj.weight", 0)
        content = found.content
        config = fields(content.get("cfg")) if isinstance(content, dict) else {}
        distance = positive_int(config.get("max_distance", _DEFAULT_MAX_DISTANCE))
        if distance is None:
            raise InputError(
                f"{found.source} is configured for another network: max_distance"
            )
        head = "predictor.weight"
        sizes = Sizes(
            width=width,
            depth=count_blocks(found, _BLOCK),
            hidden=size("encoder.layers.0.fc1.weight", 0),
            num_heads=size("encoder.layers.0.self_attn.grep_a", 1),
            patch_width=size("patch_embedding.weight", 0),
            kernel=size(f"{_CONV}.weight_g", 2),
            groups=width // max(1, size(f"{_CONV}.weight_v", 1)),
            buckets=size(_TABLE, 0),
            max_distance=distance if config else _MAX_DISTANCE,
            classes=size(head, 0) if head in found.tensors else None,
        )
        if config:
            _check_config(config, sizes, self.structure, found.source)
        return sizes

    def base_sizes(self, width: int, depth: int, num_heads: int) -> Sizes:
        """Returns sizes in the proportions of the published files.

        Raises:
            InputError: The width cannot be split into the heads or into the groups of
                the position convolution.
        """
        sizes = Sizes(
            width=width,
            depth=depth,
            hidden=4 * width,
            num_heads=num_heads,
            patch_width=2 * width // 3,
            kernel=128,
            groups=16,
            buckets=320,
            max_distance=_MAX_DISTANCE,
        )
        for what, parts in (("heads", num_heads), ("groups", sizes.groups)):
            if parts < 1 or width % parts:
                raise InputError(f"width {width} cannot be split into {parts} {what}")
        return sizes

    def choose_heads(
        self, found: EncoderTensors, sizes: Sizes, given: int | None
    ) -> int:
        """Returns the number of heads that the tensor shapes show.

        Raises:
            InputError: `given` is another number.
        """
        if given not in (None, sizes.num_heads):
            raise InputError(f"{found.source} has {sizes.num_heads} heads, not {given}")
        return sizes.num_heads

    def layout(self, sizes: Sizes) -> dict[str, Shape]:
        """Returns the canonical name and shape of every tensor of a network."""
        d, heads = sizes.width, sizes.num_heads
        shapes: dict[str, Shape] = {
            "patch_embedding.weight": (sizes.patch_width, 1, PATCH, PATCH),
            **norm_shapes("layer_norm", sizes.patch_width),
            **linear_shapes("post_extract_proj", sizes.patch_width, d),
            f"{_CONV}.weight_g": (1, 1, sizes.kernel),
            f"{_CONV}.weight_v": (d, d // sizes.groups, sizes.kernel),
            f"{_CONV}.bias": (d,),
            **norm_shapes("encoder.layer_norm", d),
            _TABLE: (sizes.buckets, heads),
        }
        for i in range(sizes.depth):
            block = f"encoder.layers.{i}"
            for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                shapes |= linear_shapes(f"{block}.self_attn.{name}", d, d)
            shapes |= linear_shapes(f"{block}.self_attn.grep_linear", d // heads, GATES)
            shapes[f"{block}.self_attn.grep_a"] = (1, heads, 1, 1)
            shapes |= norm_shapes(f"{block}.self_attn_layer_norm", d)
            shapes |= linear_shapes(f"{block}.fc1", d, sizes.hidden)
            shapes |= linear_shapes(f"{block}.fc2", sizes.hidden, d)
            shapes |= norm_shapes(f"{block}.final_layer_norm", d)
        if sizes.classes is not None:
            shapes |= linear_shapes("predictor", d, sizes.classes)
        return shapes

    def untrained(self, sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
        """Returns random tensors, as the reference initialises them.

        The maps of the blocks are Xavier-normal, smaller by (8 L)^(-1/4) behind queries
        and keys. Other linear maps are normal with standard deviation 0.02, biases 0,
        LayerNorms and gates the identity.
        """
        rng = np.random.default_rng(seed)
        shapes = self.layout(sizes)
        return {name: _draw(name, shapes[name], sizes, rng) for name in shapes}


def older_name(name: str) -> str:
    """Returns the older name of a part of the weight norm, other names as they are."""
    return _CONV_NAMES.get(name, name)


def with_one_table(found: EncoderTensors) -> EncoderTensors:
    """Keeps the table of relative positions once, which all blocks share.

    A file may hold it under every block, or under any one of them.

    Raises:
        InputError: The tables differ.
    """
    in_block = re.compile(_TABLE.replace(".0.", r"\.\d{1,4}\.").replace(".w", r"\.w"))
    copies = [name for name in found.tensors if in_block.fullmatch(name)]
    if not copies:
        return found
    first = _TABLE if _TABLE in copies else copies[0]
    table = found.tensors.pop(first)
    for name in copies:
        if name == first:
            continue
        if not np.array_equal(found.tensors.pop(name), table):
            raise InputError(f"{found.source}: {name} is not that of {first}, as tied")
        found.ignored[name] = f"tied to {first}, and the same"
    found.tensors[_TABLE] = table
    return found


def _check_config(
    config: Mapping[Any, Any],
    sizes: Sizes,
    structure: Mapping[str, tuple[Any, Any]],
    source: str,
) -> None:
    stated = {key: config.get(key, default) for key, (_, default) in structure.items()}
    wanted: dict[str, Any] = {key: here for key, (here, _) in structure.items()}
    # The depth scales every residual: a file that lost a block must not pass.
    shown = {
        "encoder_layers": sizes.depth,
        "encoder_attention_heads": sizes.num_heads,
        "conv_pos_groups": sizes.groups,
    }
    for key in shown.keys() & config.keys():
        stated[key], wanted[key] = config[key], shown[key]
    wrong = [
        f"{key} {short(stated[key])}, not {wanted[key]!r}"
        for key in sorted(wanted)
        if type(stated[key]) is not type(wanted[key]) or stated[key] != wanted[key]
    ]
    if wrong:
        raise InputError(f"{source} is configured for another network: {wrong}")


def _draw(
    name: str, shape: Shape, sizes: Sizes, rng: np.random.Generator
) -> np.ndarray:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1 or name.endswith("grep_a"):
        return np.ones(shape, np.float32)
    if name == "patch_embedding.weight":
        return rng.uniform(-1 / PATCH, 1 / PATCH, shape).astype(np.float32)
    deviation = 0.02
    if name.startswith(_CONV):
        deviation = (4 / (sizes.kernel * sizes.width)) ** 0.5
    elif re.match(_BLOCK, name) and "grep_linear" not in name:
        deviation = (2 / sum(shape)) ** 0.5
        if "q_proj" not in name and "k_proj" not in name and name != _TABLE:
            deviation *= (8 * sizes.depth) ** -0.25
    drawn = np.float32(deviation) * rng.standard_normal(shape, np.float32)
    if name == f"{_CONV}.weight_g":
        # As PyTorch starts a weight norm: the norm of each tap.
        taps = sizes.width * sizes.width // sizes.groups
        return np.full(shape, deviation * taps**0.5, np.float32)
    return drawn
