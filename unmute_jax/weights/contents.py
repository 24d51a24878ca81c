"""Finds the tensors of an encoder in the content of a weights file.

Everything else in the file is listed with the reason why it is not used.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from unmute_jax.errors import InputError, one_line
from unmute_jax.weights.inert import InertObject, lookup

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
class StateDict:
    """The named tensors in a file.

    Attributes:
        content: Content of the whole file.
        source: Name of the file, for messages.
        tensors: Name -> tensor; nested dicts may be among them.
        is_flat: Whether they are the whole content, and not an entry of it.
        beside: Name of what else the file holds -> why it is not used.
    """

    content: Any
    source: str
    tensors: dict[str, Any]
    is_flat: bool
    beside: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderTensors:
    """The tensors of an encoder in a file.

    Attributes:
        content: Content of the whole file.
        source: Name of the file, for messages.
        layout: The program that wrote the file, for people.
        tensors: Canonical name -> tensor; all layouts of a family share these names.
        ignored: Name of what else the file holds -> why it is not used.
    """

    content: Any
    source: str
    layout: str
    tensors: dict[str, np.ndarray]
    ignored: dict[str, str]


def state_dict(
    content: Any,
    source: str,
    *,
    key: str = "model",
    beside: Mapping[str, str] = TRAINING,
) -> StateDict:
    """Returns the state dict under `key` in the content of a file, or the content.

    Args:
        content: Content of the file.
        source: Name of the file, for messages.
        key: The name of the entry with the state dict.
        beside: Name of what may lie beside the state dict -> why it is not used.

    Raises:
        InputError: The file holds no state dict, or unknown tensors beside it.
    """
    if not isinstance(content, dict):
        raise InputError(f"{source} holds no weights but {short(content)}")
    is_flat = not isinstance(content.get(key), dict)
    if not is_flat:
        tensors = content[key]
        unused = _unused_beside(content, key, beside, source)
    elif any(isinstance(value, np.ndarray) for value in content.values()):
        unused = {name: beside[name] for name in content if name in beside}
        tensors = {k: value for k, value in content.items() if k not in unused}
    else:
        names = first_few(short(name) for name in content) or "nothing"
        raise InputError(f"{source} holds no weights under {key!r}; it holds {names}")
    if not all(isinstance(name, str) for name in tensors):
        raise InputError(f"{source} holds no weights: not all have names")
    return StateDict(
        content=content, source=source, tensors=tensors, is_flat=is_flat, beside=unused
    )


def _unused_beside(
    content: dict[Any, Any], key: str, beside: Mapping[str, str], source: str
) -> dict[str, str]:
    others = {name: value for name, value in content.items() if name != key}
    unknown = [
        short(name)
        for name, value in others.items()
        if name not in beside and _holds_tensors(value)
    ]
    if unknown:
        raise InputError(
            f"{source} holds tensors beside its {key!r} that are not known: "
            f"{first_few(unknown)}"
        )
    return {short(name).strip("'"): beside.get(name, _NO_TENSOR) for name in others}


def _holds_tensors(value: Any) -> bool:
    """Whether there is a tensor anywhere in `value`, however deep."""
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
    *,
    layout: str,
    ignored: Mapping[str, str],
    rename: Callable[[str], str] = str,
) -> EncoderTensors:
    """Returns the tensors of the encoder in a state dict.

    Args:
        state: State dict of a file.
        layout: The program that wrote the file, for people.
        ignored: Start of the canonical names that are not used -> why.
        rename: Function from the names in the file to canonical names.

    Raises:
        InputError: An entry that is not ignored holds tensors of its own, or two
            entries get the same name.
    """
    tensors: dict[str, np.ndarray] = {}
    unused = dict(state.beside)
    for name, tensor in state.tensors.items():
        new = rename(name)
        reasons = [why for start, why in ignored.items() if new.startswith(start)]
        if reasons:
            unused[name] = reasons[0]
            continue
        if new in tensors:
            raise InputError(f"{state.source} holds {new} twice, once as {name}")
        if isinstance(tensor, np.ndarray):
            tensors[new] = tensor
        elif _holds_tensors(tensor):
            raise InputError(
                f"{state.source} does not fit the network; not expected: {name}, "
                f"{short(tensor)}"
            )
        else:
            unused[name] = _NO_TENSOR
    where = ", not in a dict of its own" if state.is_flat else ""
    return EncoderTensors(
        content=state.content,
        source=state.source,
        layout=f"{layout}{where}",
        tensors=tensors,
        ignored=unused,
    )


def count_blocks(found: EncoderTensors, pattern: str) -> int:
    """Returns the number of blocks, of which none may be missing.

    Args:
        found: Tensors of a file.
        pattern: Regular expression of the start of a name in a block; its first group
            is the number of the block.

    Raises:
        InputError: The numbers have a gap.
    """
    numbers = {int(m[1]) for name in found.tensors if (m := re.match(pattern, name))}
    depth = max(numbers, default=-1) + 1
    if len(numbers) < depth:
        first = next(number for number in range(depth) if number not in numbers)
        raise InputError(
            f"{found.source} holds blocks up to {depth - 1}, but block {first} is "
            "missing"
        )
    return depth


def size_of(found: EncoderTensors, name: str, axis: int) -> int:
    """Returns the length of an axis of a tensor that shows a size of the network.

    Raises:
        InputError: The tensor is missing or has too few axes.
    """
    tensors = found.tensors
    if name not in tensors or tensors[name].ndim <= axis:
        raise InputError(
            f"{found.source} holds another network: tensor {name} is missing or "
            f"misshapen; it holds {', '.join(list(tensors)[:4]) or 'nothing'}, ..."
        )
    return tensors[name].shape[axis]


def short(value: Any) -> str:
    """Describes `value` in a few words, as it may be as large as a file likes."""
    if isinstance(value, str):
        return repr(value[:60])
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a huge number"
    if value is None or isinstance(value, int | float):
        return repr(value)
    if isinstance(value, InertObject):
        return f"an object of {value.name[:60]}"
    return "a dict" if isinstance(value, dict) else f"a {type(value).__name__}"


def first_few(names: Iterable[str], limit: int = 4) -> str:
    """Lists the first of `names`, and says how many more there are."""
    names = [one_line(name, 80) for name in names]
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + rest


def stated_int(content: Any, paths: Iterable[tuple[str, ...]]) -> int | None:
    """Returns the first possible size that a file states under one of `paths`."""
    stated = (positive_int(lookup(content, *path)) for path in paths)
    return next((number for number in stated if number is not None), None)


def positive_int(value: Any) -> int | None:
    """Returns `value` if it could be a size; a file may hold anything in its place."""
    return value if type(value) is int and 0 < value < 1 << 31 else None
