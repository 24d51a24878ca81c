"""Parameters of BEATs from named tensors, and random ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unmute_jax.weights.beats import BLOCK, CONV, PATCH, TABLE, Sizes, layout
from unmute_jax.weights.mapping import Shape, check_layout, flax_leaf, nested


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


def to_params(
    tensors: Mapping[str, np.ndarray], sizes: Sizes, source: str
) -> dict[str, Any]:
    """Parameters of `encoders.beats.BeatsNetwork` from canonical tensors.

    Raises:
        InputError: The tensors are not exactly those of `layout(sizes)`.
    """
    check_layout(tensors, layout(sizes), source)
    return nested(_leaves({k: np.asarray(v, np.float32) for k, v in tensors.items()}))


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


def _leaves(
    tensors: dict[str, np.ndarray],
) -> Iterable[tuple[tuple[str, ...], np.ndarray]]:
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
    v = v.astype(np.float64)
    weight = g * v / np.sqrt(np.square(v).sum((0, 1)))
    return weight.transpose(2, 1, 0)
