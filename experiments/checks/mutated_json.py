"""Damages JSON in the ways in which it is damaged, by hand or by other programs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# What stands for JSON that Python's encoder does not write: its hexadecimal digits.
_RAW = re.compile(r'"\\u0000raw ([0-9a-f]*)"')


def _raw(text: str) -> str:
    return f"\0raw {text.encode().hex()}"


_DEEP = tuple(
    _raw(begin * times + "0" + end * times)
    for begin, end, times in (
        ("[", "]", 100),
        ("[", "]", 100_000),
        ('{"a":', "}", 200),
        ('[{"a":', "}]", 5_000),
    )
)
NUMBERS = (
    *(-1, 0, 1, 2, 3, 255, 1.5, -0.0, 1e-300, 1e308, 2**31, 2**31 - 1, -(2**31)),
    *(2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**19, 10**400, float("nan")),
    *map(_raw, ("1e999", "-Infinity", "-1e999", "1E400")),
)
TEXTS = (
    *("", " ", "\0", "nan", "None", "../../outside", "/nowhere/outside", "~", ".."),
    *("é\n\x1b[31m", "$\\input{x}$", "[/b]", "<script>", "=HYPERLINK(1)", "%s{0}"),
    *("a" * 200_000, "\ud800", "\u202e", "e\u0301", "CON", "a\tb\rc", "all", "learned"),
)
CONTAINERS = ({}, [], [1, 2], {"a": 1}, [[]], [None], [[0, 1], [0, 2]])


def encode(value: Any, indent: int | None = None) -> bytes:
    """Returns the text of a value that `change` returned."""
    text = json.dumps(value, indent=indent)
    return _RAW.sub(lambda match: bytes.fromhex(match[1]).decode(), text).encode()


def change(value: Any, rng: np.random.Generator) -> tuple[str, Any]:
    """Changes one or two places in a JSON value.

    Args:
        value: The value, a dictionary or a list; it is not changed itself.
        rng: The source of all choices.

    Returns:
        The name of the mutation, and a value for `encode`.
    """
    value = copy.deepcopy(value)
    name = str(rng.choice(list(CHANGES)))
    for _ in range(1 + int(rng.random() < 0.3)):
        holder, key = _place(value, rng)
        if holder is None:
            break
        CHANGES[name](value, holder, key, rng)
    return name, value


def _place(value: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """Chooses a place: a container and a key in it."""
    holder, key = None, None
    while isinstance(value, dict | list) and value:
        if holder is not None and rng.random() < 0.3:
            break
        keys = list(value) if isinstance(value, dict) else range(len(value))
        holder, key = value, keys[int(rng.integers(len(keys)))]
        value = holder[key]
    return holder, key


def _pick(values: Any, rng: np.random.Generator) -> Any:
    return copy.deepcopy(values[int(rng.integers(len(values)))])


def _other_type(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    simple = (None, True, False, "7", 7, 0.5)
    holder[key] = _pick((*simple, *CONTAINERS), rng)


def _odd_number(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = _pick(NUMBERS, rng)


def _odd_text(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = _pick(TEXTS, rng)


def _slightly_other(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    old = holder[key]
    if isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, int | float):
        holder[key] = old + _pick((1, -1, 0.5, old, -2 * old), rng)
    elif isinstance(old, str) and old:
        at = int(rng.integers(len(old)))
        holder[key] = old[:at] + chr(int(rng.integers(32, 127))) + old[at + 1 :]
    elif isinstance(old, list) and old:
        holder[key] = _pick((old[1:], old + old[:1], old[::-1], old * 3), rng)
    else:
        _other_type(None, holder, key, rng)


def _left_out(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    del holder[key]


def _renamed(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    name = _pick((*TEXTS, f"{key}2", str(key).upper()), rng)
    if isinstance(holder, dict):
        holder[name] = holder.pop(key)
    else:
        holder[key] = {name: holder[key]}


def _added(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    new = _pick((*NUMBERS, *TEXTS, *CONTAINERS), rng)
    if isinstance(holder, dict):
        holder[_pick(("checksum", "digest", "format", "version", *TEXTS), rng)] = new
    else:
        holder.insert(int(rng.integers(len(holder) + 1)), new)


def _exchanged(value: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    other, place = _place(value, rng)
    if other is not None:
        a, b = copy.deepcopy(holder[key]), copy.deepcopy(other[place])
        other[place] = a
        # The first place may have been inside the second.
        if isinstance(holder, dict) or key < len(holder):
            holder[key] = b


def _nested(_: Any, holder: Any, key: Any, rng: np.random.Generator) -> None:
    holder[key] = _pick(_DEEP, rng)


Change = Callable[[Any, Any, Any, np.random.Generator], None]
CHANGES: dict[str, Change] = {
    "a value of another type": _other_type,
    "an odd number": _odd_number,
    "an odd text": _odd_text,
    "a value slightly changed": _slightly_other,
    "a value left out": _left_out,
    "a value under another name": _renamed,
    "a value added": _added,
    "two values exchanged": _exchanged,
    "a value nested deeply": _nested,
}
