"""Finding an encoder in what a file holds: what is used, what is not, and why."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.inert import InertObject

# What training scripts save beside the weights, and why it is not used.
TRAINING = {
    "args": "options of the training",
    "cfg": "configuration; what shapes do not tell is read from it",
    "config": "configuration; what shapes do not tell is read from it",
    "criterion": "state of the training",
    "epoch": "state of the training",
    "extra_state": "state of the training",
    "fp16_scaler": "state of the training",
    "label_dict": "names of the classes, which are read from it",
    "last_optimizer_state": "state of the optimizer",
    "lr_scheduler": "state of the optimizer",
    "optimizer": "state of the optimizer",
    "optimizer_history": "state of the optimizer",
    "scaler": "state of the training",
    "task_state": "state of the training",
}
_NO_TENSOR = "no tensor"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canonical:
    """What a file holds for an encoder.

    Attributes:
        layout: What wrote the file, for people.
        tensors: Under names that all layouts share.
        ignored: What else is in the file -> why it is not used.
    """

    layout: str
    tensors: dict[str, np.ndarray]
    ignored: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateDict:
    """The named tensors in a file.

    Attributes:
        tensors: Nested dicts may be among them.
        flat: Whether they are the whole file, and not an entry of it.
        beside: What is in the file besides -> why it is not used.
    """

    tensors: dict[str, Any]
    flat: bool
    beside: dict[str, str]


def state_dict(
    content: Any,
    source: str,
    *,
    key: str = "model",
    beside: Mapping[str, str] = TRAINING,
) -> StateDict:
    """What lies under `key` in the content of a weights file, or the content itself.

    Args:
        content: Of the file.
        source: Of the content, for the message.
        key: Where the state dict should be.
        beside: What may lie beside the state dict -> why it is not used.

    Raises:
        InputError: Nothing that could be a state dict is there, or unknown tensors lie
            beside it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source} holds no weights but {brief(content)}")
    flat = not isinstance(content.get(key), dict)
    if not flat:
        tensors = content[key]
        left = _left_beside(content, key, beside, source)
    elif any(isinstance(value, np.ndarray) for value in content.values()):
        left = {name: beside[name] for name in content if name in beside}
        tensors = {name: value for name, value in content.items() if name not in left}
    else:
        held = some(brief(name) for name in content) or "nothing"
        raise InputError(f"{source} holds no weights under {key!r}; it holds {held}")
    if not all(isinstance(name, str) for name in tensors):
        raise InputError(f"{source} holds no weights: not all have names")
    return StateDict(tensors=tensors, flat=flat, beside=left)


def _left_beside(
    content: dict[Any, Any], key: str, beside: Mapping[str, str], source: str
) -> dict[str, str]:
    left = {
        brief(name).strip("'"): beside.get(name, _NO_TENSOR)
        for name in content
        if name != key
    }
    unknown = [
        brief(name)
        for name, value in content.items()
        if name != key and name not in beside and _holds_tensors(value)
    ]
    if unknown:
        raise InputError(
            f"{source} holds tensors beside its {key!r} that are not known: "
            f"{some(unknown)}"
        )
    return left


def _holds_tensors(value: Any) -> bool:
    """Whether a tensor lies anywhere in `value`, however deep."""
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, np.ndarray):
            return True
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, InertObject):
            waiting += [value.args, value.state, value.items, value.mapping]
    return False


def select(
    state: StateDict,
    source: str,
    *,
    layout: str,
    rename: Callable[[str], str],
    ignored: Mapping[str, str],
) -> Canonical:
    """The tensors of the encoder in a state dict.

    Args:
        state: Of a file.
        source: Of the file, for the message.
        layout: Of the file, for people.
        rename: From names in the file to canonical ones.
        ignored: How the canonical names begin that are not used -> why.

    Raises:
        InputError: What is not ignored holds tensors of its own, or two get the same
            name.
    """
    tensors: dict[str, np.ndarray] = {}
    left = dict(state.beside)
    for name, tensor in state.tensors.items():
        new = rename(name)
        reasons = [why for start, why in ignored.items() if new.startswith(start)]
        if reasons:
            left[name] = reasons[0]
            continue
        if new in tensors:
            raise InputError(f"{source} holds {new} twice, once as {name}")
        if isinstance(tensor, np.ndarray):
            tensors[new] = tensor
        elif _holds_tensors(tensor):
            raise InputError(
                f"{source} does not fit the network; not expected: {name}, "
                f"{brief(tensor)}"
            )
        else:
            left[name] = _NO_TENSOR
    where = ", not in a dict of its own" if state.flat else ""
    return Canonical(layout=f"{layout}{where}", tensors=tensors, ignored=left)


def count_blocks(names: Iterable[str], pattern: re.Pattern[str], source: str) -> int:
    """The number of blocks, none of which may be missing.

    Args:
        names: Of the tensors.
        pattern: Its first group is the number of the block.
        source: Of the tensors, for the message.

    Raises:
        InputError: The numbers have a gap.
    """
    found = {int(m[1]) for name in names if (m := pattern.match(name))}
    depth = max(found, default=-1) + 1
    if len(found) < depth:
        first = next(number for number in range(depth) if number not in found)
        raise InputError(
            f"{source} holds blocks up to {depth - 1}, but block {first} is missing"
        )
    return depth


def brief(value: Any) -> str:
    """`value` in a few words: what a file holds may be as large as it likes."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a huge number"
    if value is None or isinstance(value, int | float):
        return repr(value)
    if isinstance(value, InertObject):
        return f"an object of {value.name[:60]}"
    return "a dict" if isinstance(value, dict) else f"a {type(value).__name__}"


def some(names: Iterable[str], limit: int = 8) -> str:
    """The first of `names`, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def whole_number(value: Any) -> int | None:
    """`value` if it could be a size; a file may hold anything in its place."""
    return value if type(value) is int and 0 < value < 1 << 31 else None
