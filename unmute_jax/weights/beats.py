"""The tensors of BEATs checkpoints, pre-trained or fine-tuned.

They keep the names of the file, with two exceptions: the table of relative positions,
which the reference ties over all blocks and writes once per block, is kept once, and
the newer names of a weight norm become the older ones.

Source: github.com/microsoft/unilm, folder beats, commit 158b811 (MIT).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import (
    Canonical,
    brief,
    count_blocks,
    select,
    state_dict,
    whole_number,
)
from unmute_jax.weights.inert import fields
from unmute_jax.weights.mapping import (
    Leaf,
    Shape,
    check_layout,
    flax_leaf,
    linear_shapes,
    norm_shapes,
    size_of,
)

PATCH = 16
BANDS = 8  # patches over the 128 mel bins
GATES = 8  # outputs of `grep_linear`, in two groups of four

BLOCK = re.compile(r"encoder\.layers\.(\d{1,4})\.")
TABLE = "encoder.layers.0.self_attn.relative_attention_bias.weight"
CONV = "encoder.pos_conv.0"
_CONV_NAMES = {
    f"{CONV}.parametrizations.weight.original0": f"{CONV}.weight_g",
    f"{CONV}.parametrizations.weight.original1": f"{CONV}.weight_v",
}
_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")

# Of the configuration in a file: (what the network here is, default of the reference).
_STRUCTURE: dict[str, tuple[Any, Any]] = {
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
    """What tensor shapes and the configuration in a file tell about a network.

    Attributes:
        width: D.
        depth: Number of blocks.
        hidden: Width inside the MLPs.
        num_heads: Attention heads.
        patch_width: Width of the patches before they are projected to D.
        kernel: Taps of the position convolution.
        groups: Its groups of channels.
        buckets: Rows of the table of relative positions.
        max_distance: From here on all distances share a bucket.
        classes: Outputs of the head; None without one.
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


def base_sizes(width: int, depth: int, num_heads: int) -> Sizes:
    """Sizes in the proportions of the published files.

    Raises:
        InputError: The width fits neither the heads nor the position convolution.
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


def layout(sizes: Sizes) -> dict[str, Shape]:
    """Name -> shape of every tensor that a network of these sizes needs."""
    d, heads = sizes.width, sizes.num_heads
    shapes: dict[str, Shape] = {
        "patch_embedding.weight": (sizes.patch_width, 1, PATCH, PATCH),
        **norm_shapes("layer_norm", sizes.patch_width),
        **linear_shapes("post_extract_proj", sizes.patch_width, d),
        f"{CONV}.weight_g": (1, 1, sizes.kernel),
        f"{CONV}.weight_v": (d, d // sizes.groups, sizes.kernel),
        f"{CONV}.bias": (d,),
        **norm_shapes("encoder.layer_norm", d),
        TABLE: (sizes.buckets, heads),
    }
    for i in range(sizes.depth):
        block = f"encoder.layers.{i}"
        for name in _ATTENTION:
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


def canonical(content: Any, source: str) -> Canonical:
    """The tensors of a file, the table of relative positions once.

    Args:
        content: Of a `weights.files.WeightsFile`.
        source: Of the content, for the message.

    Raises:
        InputError: The file holds no state dict of tensors, or tables that differ.
    """
    found = select(
        state_dict(content, source),
        source,
        layout="the authors' code",
        rename=lambda name: _CONV_NAMES.get(name, name),
        ignored={},
    )
    table = found.tensors.get(TABLE)
    copies = [n for n in found.tensors if BLOCK.sub("encoder.layers.0.", n) == TABLE]
    for name in copies:
        if name != TABLE and table is not None:
            if not np.array_equal(found.tensors.pop(name), table):
                raise InputError(f"{source}: {name} is not that of layer 0, as tied")
            found.ignored[name] = "tied to that of layer 0, and the same"
    return found


def choose_heads(sizes: Sizes, content: Any, given: int | None, source: str) -> int:
    """Those that tensor shapes tell.

    Raises:
        InputError: `given` is another number.
    """
    del content
    if given not in (None, sizes.num_heads):
        raise InputError(f"{source} has {sizes.num_heads} heads, not {given}")
    return sizes.num_heads


def read_sizes(tensors: Mapping[str, np.ndarray], content: Any, source: str) -> Sizes:
    """The sizes of the network that canonical tensors belong to.

    The defaults of the reference are not the published network, so a configuration
    that lacks an entry means the default; a file without any is taken as published.

    Raises:
        InputError: A tensor that tells a size is missing or has too few axes, or the
            configuration tells of another network.
    """

    def size(name: str, axis: int) -> int:
        return size_of(tensors, name, axis, source)

    width = size("post_extract_proj.weight", 0)
    config = fields(content.get("cfg")) if isinstance(content, dict) else {}
    distance = whole_number(config.get("max_distance", _DEFAULT_MAX_DISTANCE))
    if distance is None:
        raise InputError(f"{source} is configured for another network: max_distance")
    sizes = Sizes(
        width=width,
        depth=count_blocks(tensors, BLOCK, source),
        hidden=size("encoder.layers.0.fc1.weight", 0),
        num_heads=size("encoder.layers.0.self_attn.grep_a", 1),
        patch_width=size("patch_embedding.weight", 0),
        kernel=size(f"{CONV}.weight_g", 2),
        groups=width // max(1, size(f"{CONV}.weight_v", 1)),
        buckets=size(TABLE, 0),
        max_distance=distance if config else _MAX_DISTANCE,
        classes=size("predictor.weight", 0) if "predictor.weight" in tensors else None,
    )
    if config:
        _check_config(config, sizes, source)
    return sizes


def _check_config(config: Mapping[Any, Any], sizes: Sizes, source: str) -> None:
    said = {key: config.get(key, default) for key, (_, default) in _STRUCTURE.items()}
    want: dict[str, Any] = {key: here for key, (here, _) in _STRUCTURE.items()}
    # The depth scales every residual: a file that lost a block must not pass.
    told = {
        "encoder_layers": sizes.depth,
        "encoder_attention_heads": sizes.num_heads,
        "conv_pos_groups": sizes.groups,
    }
    for key in told.keys() & config.keys():
        said[key], want[key] = config[key], told[key]
    wrong = [
        f"{key} {brief(said[key])}, not {want[key]!r}"
        for key in sorted(want)
        if type(said[key]) is not type(want[key]) or said[key] != want[key]
    ]
    if wrong:
        raise InputError(f"{source} is configured for another network: {wrong}")


def untrained(sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Tensors as the reference initialises them, the same on every device.

    The maps of the blocks are Xavier-normal, smaller by (8 L)^(-1/4) behind queries and
    keys; other linear maps are normal with sd 0.02, biases 0, LayerNorms and gates the
    identity.
    """
    rng = np.random.default_rng(seed)
    return {
        name: _draw(name, shape, sizes, rng) for name, shape in layout(sizes).items()
    }


def _draw(
    name: str, shape: Shape, sizes: Sizes, rng: np.random.Generator
) -> np.ndarray:
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    if len(shape) == 1 or name.endswith("grep_a"):
        return np.ones(shape, np.float32)
    if name == "patch_embedding.weight":
        return rng.uniform(-1 / PATCH, 1 / PATCH, shape).astype(np.float32)
    spread = 0.02
    if name.startswith(CONV):
        spread = (4 / (sizes.kernel * sizes.width)) ** 0.5
    elif BLOCK.match(name) and "grep_linear" not in name:
        spread = (2 / sum(shape)) ** 0.5
        if "q_proj" not in name and "k_proj" not in name and name != TABLE:
            spread *= (8 * sizes.depth) ** -0.25
    drawn = np.float32(spread) * rng.standard_normal(shape, np.float32)
    if name == f"{CONV}.weight_g":
        # As PyTorch starts a weight norm: the norm of each tap.
        taps = sizes.width * sizes.width // sizes.groups
        return np.full(shape, spread * taps**0.5, np.float32)
    return drawn


def leaves(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> Iterator[Leaf]:
    """Parameters of `encoders.beats_network.BeatsNetwork`, one by one.

    Raises:
        InputError: The tensors are not exactly those of `layout(sizes)`.
    """
    check_layout(tensors, layout(sizes), source)
    return _leaves(dict(tensors))


_MODULES = {
    "patch_embedding": ("patch_embed",),
    "layer_norm": ("patch_norm",),
    "post_extract_proj": ("project",),
    "encoder.layer_norm": ("norm",),
    "predictor": ("head",),
    "self_attn.out_proj": ("attn", "proj"),
    "self_attn.grep_linear": ("attn", "gate"),
    "self_attn_layer_norm": ("norm1",),
    "fc1": ("mlp", "fc1"),
    "fc2": ("mlp", "fc2"),
    "final_layer_norm": ("norm2",),
}


def _leaves(tensors: dict[str, np.ndarray]) -> Iterator[Leaf]:
    yield ("relative_positions",), tensors.pop(TABLE)
    g, v = (tensors.pop(f"{CONV}.weight_{part}") for part in "gv")
    yield ("position_conv", "kernel"), _fold(g, v)
    yield ("position_conv", "bias"), tensors.pop(f"{CONV}.bias")
    for name, tensor in tensors.items():
        block = BLOCK.match(name)
        folder = (f"blocks_{block[1]}",) if block else ()
        module, _, last = name.removeprefix(block[0] if block else "").rpartition(".")
        if module == "self_attn":
            yield (*folder, "attn", "gate_scale"), tensor.reshape(-1)
        elif module == "self_attn.q_proj":
            parts = [tensors[name.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            leaf, array = flax_leaf(last, np.concatenate(parts))
            yield (*folder, "attn", "qkv", leaf), array
        elif module in _MODULES:
            leaf, array = flax_leaf(last, tensor)
            yield (*folder, *_MODULES[module], leaf), array


def _fold(g: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The kernel `[tap, in, out]` behind a weight norm that has one norm per tap."""
    g, v = g.astype(np.float32), v.astype(np.float64)
    weight = g * v / np.sqrt(np.square(v).sum((0, 1)))
    return weight.transpose(2, 1, 0)
