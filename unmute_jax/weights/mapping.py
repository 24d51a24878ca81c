"""From named tensors in PyTorch's conventions to a tree of flax parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import some

Shape = tuple[int, ...]
Leaf = tuple[tuple[str, ...], np.ndarray]
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def norm_shapes(name: str, width: int) -> dict[str, Shape]:
    """The tensors of a LayerNorm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    """The tensors of a linear map with bias."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def vit_block_shapes(block: str, width: int, hidden: int) -> dict[str, Shape]:
    """The tensors of a transformer block under the names of timm."""
    return {
        **norm_shapes(f"{block}.norm1", width),
        **norm_shapes(f"{block}.norm2", width),
        **linear_shapes(f"{block}.attn.qkv", width, 3 * width),
        **linear_shapes(f"{block}.attn.proj", width, width),
        **linear_shapes(f"{block}.mlp.fc1", width, hidden),
        **linear_shapes(f"{block}.mlp.fc2", hidden, width),
    }


def size_of(
    tensors: Mapping[str, np.ndarray], name: str, axis: int, source: str
) -> int:
    """Length of an axis of a tensor that tells a size of the network.

    Raises:
        InputError: The tensor is missing or has too few axes.
    """
    if name not in tensors or tensors[name].ndim <= axis:
        raise InputError(
            f"{source} holds another network: tensor {name} is missing or misshapen; "
            f"it holds {', '.join(list(tensors)[:4]) or 'nothing'}, ..."
        )
    return tensors[name].shape[axis]


def check_layout(
    tensors: Mapping[str, np.ndarray], layout: Mapping[str, Shape], source: str
) -> None:
    """Refuses tensors that are not exactly those of `layout`.

    Args:
        tensors: What the file holds, after renaming.
        layout: Name -> shape of what the network needs.
        source: Of the tensors, for the message.

    Raises:
        InputError: One line that lists what is missing, what is left over and what has
            another shape or is no floating-point tensor.
    """
    missing = [name for name in layout if name not in tensors]
    extra = [name for name in tensors if name not in layout]
    wrong = [
        f"{name} is {list(tensors[name].shape)}, not {list(shape)}"
        for name, shape in layout.items()
        if name in tensors and tensors[name].shape != shape
    ]
    types = [
        f"{name} is {tensors[name].dtype}"
        for name in layout
        if name in tensors and tensors[name].dtype.name not in _FLOATS
    ]
    complaints = {
        "missing": missing,
        "not expected": extra,
        "of another shape": wrong,
        "not floating point": types,
    }
    parts = [f"{what}: {some(names)}" for what, names in complaints.items() if names]
    if parts:
        raise InputError(f"{source} does not fit the network; {'; '.join(parts)}")


def flax_leaf(name: str, tensor: np.ndarray) -> tuple[str, np.ndarray]:
    """The flax name and array of a PyTorch `weight` or `bias`.

    One-dimensional weights are the scale of a LayerNorm; others are linear maps or
    convolutions `[out, in, ...]`, which become `[out, in * ...]`.
    """
    if name == "bias":
        return "bias", tensor
    if tensor.ndim == 1:
        return "scale", tensor
    return "weight", tensor.reshape(tensor.shape[0], -1)


def nested(leaves: Iterable[Leaf]) -> dict[str, Any]:
    """A tree of arrays from (path, array) pairs."""
    tree: dict[str, Any] = {}
    for (*folders, leaf), array in leaves:
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = array
    return tree
