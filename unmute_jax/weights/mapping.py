"""Maps named tensors in PyTorch's conventions to a tree of flax parameters."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unmute_jax.errors import InputError, one_line
from unmute_jax.weights.contents import first_few

Shape = tuple[int, ...]
Leaf = tuple[tuple[str, ...], np.ndarray]
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""One line of a key map: how tensors become a parameter.

    Attributes:
        source: Regular expression of the whole name of a tensor.
        target: Path of the parameter, with "." between its parts and "\\1" for the
            first group of `source`.
        others: Names of further tensors that the parameter is made of, likewise.
        make: Function from the tensors to the parameter. Without one, the tensor is a
            PyTorch `weight` or `bias` and becomes what `flax_leaf` says.
    """

    source: str
    target: str
    others: tuple[str, ...] = ()
    make: Callable[..., np.ndarray] | None = None


def map_tensors(
    tensors: Mapping[str, np.ndarray], rules: Sequence[Rule], source: str
) -> Iterator[Leaf]:
    """Yields the parameters one by one, as views of the tensors where possible.

    Args:
        tensors: Canonical name -> tensor of a file.
        rules: Key map.
        source: Name of the file, for messages.

    Raises:
        AssertionError: The rules do not use each tensor exactly once.
        InputError: A parameter has a value that is not finite in float32.
    """
    plan: list[tuple[list[str], str, Rule]] = []
    for name in tensors:
        for rule in rules:
            if match := re.fullmatch(rule.source, name):
                names = [name, *map(match.expand, rule.others)]
                plan.append((names, match.expand(rule.target), rule))
    uses = Counter(name for names, _, _ in plan for name in names)
    if uses != Counter(tensors.keys()):
        wrong = [name for name in {*uses, *tensors} if uses[name] != (name in tensors)]
        raise AssertionError(f"the key map does not use these tensors once: {wrong}")
    for names, target, rule in plan:
        *folders, last = target.split(".")
        if rule.make:
            # Numbers of a damaged file overflow; the check below names them.
            with np.errstate(all="ignore"):
                array = rule.make(*(tensors[name] for name in names))
        else:
            last, array = flax_leaf(last, tensors[names[0]])
        check_finite(array, " and ".join(names), source)
        yield (*folders, last), array


def check_finite(array: np.ndarray, name: str, source: str) -> None:
    """Refuses a parameter with values that are not finite, or not in float32.

    Args:
        array: Parameter, of any floating-point type.
        name: Names of the tensors in the file that it is made of.
        source: Name of the file, for the message.

    Raises:
        InputError: A value is NaN, infinite, or too large for float32.
    """
    with np.errstate(over="ignore"):
        if np.isfinite(np.asarray(array, np.float32)).all():
            return
    is_large = np.isfinite(np.asarray(array, np.float64)).all()
    what = "values that are too large for float32" if is_large else "NaN or infinity"
    raise InputError(
        one_line(
            f"{source}: the tensor {name} has {what}: it is damaged, or of a "
            "training that diverged"
        )
    )


def flax_leaf(name: str, tensor: np.ndarray) -> tuple[str, np.ndarray]:
    """Returns the flax name and array of a PyTorch `weight` or `bias`.

    A weight of one axis is the scale of a LayerNorm. Others are linear maps or
    convolutions `[out, in, ...]`, which become `[out, in * ...]`.
    """
    if name == "bias":
        return "bias", tensor
    if tensor.ndim == 1:
        return "scale", tensor
    return "weight", tensor.reshape(tensor.shape[0], -1)


def norm_shapes(name: str, width: int) -> dict[str, Shape]:
    """Returns the shapes of the tensors of a LayerNorm by their names."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    """Returns the shapes of the tensors of a linear map with bias by their names."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def check_layout(
    tensors: Mapping[str, np.ndarray], layout: Mapping[str, Shape], source: str
) -> None:
    """Refuses tensors that are not exactly those of `layout`.

    Args:
        tensors: Canonical name -> tensor of a file.
        layout: Name -> shape of every tensor that the network needs.
        source: Name of the file, for messages.

    Raises:
        InputError: One line that lists what is missing, what is left over and what has
            another shape or is no floating-point tensor.
    """
    missing = [name for name in layout if name not in tensors]
    extra = [name for name in tensors if name not in layout]
    misshapen = [
        f"{name} is {list(tensors[name].shape)}, not {list(shape)}"
        for name, shape in layout.items()
        if name in tensors and tensors[name].shape != shape
    ]
    not_floats = [
        f"{name} is {tensors[name].dtype}"
        for name in layout
        if name in tensors and tensors[name].dtype.name not in _FLOATS
    ]
    complaints = {
        "missing": missing,
        "not expected": extra,
        "of another shape": misshapen,
        "not floating point": not_floats,
    }
    parts = [
        f"{what}: {first_few(names)}" for what, names in complaints.items() if names
    ]
    if parts:
        raise InputError(f"{source} does not fit the network; {'; '.join(parts)}")


def nested(leaves: Iterable[Leaf]) -> dict[str, Any]:
    """Returns a tree of arrays from (path, array) pairs."""
    tree: dict[str, Any] = {}
    for (*folders, leaf), array in leaves:
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = array
    return tree
