"""Reads JSON files of a run, and checks the types of what they contain.

Files of a run can be cut short, edited by hand or overwritten by another program. What
is wrong with one is said in one line: the file, the field, its value, and what it must
be.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
import re
import types
import typing
from typing import Any, TypeVar

from unmute_jax.errors import InputError, one_line
from unmute_jax.io import parse_json

T = TypeVar("T")
# Metadata of a field of a dataclass that is not in its file.
NOT_STORED = {"is_stored": False}
_KINDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
    tuple: "a list",
    type(None): "null",
}
# Cached, because a large grid has many records.
_hints = functools.cache(typing.get_type_hints)


class DamagedFile(InputError):
    """A file that this library wrote no longer has what was written."""


def read_object(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """Reads a file that contains one JSON object.

    Args:
        path: The file.
        what: What the file should be, for the message, such as "a result record".

    Raises:
        DamagedFile: The file contains something else.
    """
    return parse_object(
        pathlib.Path(path).read_bytes(), f"{os.fspath(path)}: not {what}"
    )


def parse_object(text: str | bytes, problem: str) -> dict[str, Any]:
    """Parses one JSON object. NaN and infinities, which are not JSON, become null.

    Args:
        text: The text, which is UTF-8 if it is given as bytes.
        problem: The beginning of the message if it is something else.

    Raises:
        DamagedFile: It is something else.
    """
    try:
        values = parse_json(_without_constants(text))
    except ValueError as error:
        raise DamagedFile(f"{problem} ({one_line(str(error), 200)})") from error
    if not isinstance(values, dict):
        raise DamagedFile(f"{problem} (it is {_kind_of(values)}, not an object)")
    return values


def as_dataclass(cls: type[T], values: dict[str, Any], where: str) -> T:
    """Makes a dataclass of the fields that were read from JSON.

    Args:
        cls: The dataclass. Fields with a default may be missing, and those that are
            `NOT_STORED` are unknown.
        values: The values by the names of the fields.
        where: The file, for messages.

    Raises:
        DamagedFile: A field is missing or has another type.
        InputError: A field is unknown, as a newer version may have written it.
    """
    fields = {f.name: f for f in _stored(cls)}
    if unknown := [name for name in values if name not in fields]:
        raise InputError(
            f"{where}: has the unknown field {one_line(unknown[0], 80)!r}: a newer "
            "version may have written it, so update unmute-jax"
        )
    for name, f in fields.items():
        required = f.default is f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise DamagedFile(f"{where}: has no field {name}")
    hints = _hints(cls)
    typed = {k: as_type(v, hints[k], f"{where}: {k}") for k, v in values.items()}
    return cls(**typed)


def stored_fields(record: Any) -> dict[str, Any]:
    """Returns the stored fields of a dataclass, nested ones as dictionaries."""
    values = dataclasses.asdict(record)
    return {f.name: values[f.name] for f in _stored(type(record))}


def _stored(cls: type) -> list[dataclasses.Field[Any]]:
    fields = dataclasses.fields(typing.cast(Any, cls))
    return [f for f in fields if f.metadata.get("is_stored", True)]


def as_type(value: Any, hint: Any, where: str) -> Any:
    """Returns a value that was read from JSON as the type of a field.

    Integers become floats where a float is wanted, lists become tuples, and null
    becomes NaN where a number is wanted that cannot be null.

    Args:
        value: The value.
        hint: The type: a plain one, a dictionary, list or tuple of types, a union with
            None, or Any. Of words to choose from, only the type is checked, as another
            version may know others.
        where: The file and the field, for the message.

    Raises:
        DamagedFile: The value has another type.
    """
    if hint is Any:
        return value
    kind, inside = _kind(hint), typing.get_args(hint)
    if kind is types.UnionType:
        fitting = [h for h in inside if _fits(value, _kind(h))]
        if not fitting:
            raise _wrong(value, " or ".join(map(_in_words, inside)), where)
        return as_type(value, fitting[0], where)
    if kind is float and value is None:
        return math.nan
    if not _fits(value, kind):
        raise _wrong(value, _in_words(hint), where)
    if kind is float:
        return float(value)
    if kind is dict and inside:
        return {k: as_type(v, inside[1], f"{where}.{k}") for k, v in value.items()}
    if kind is list and inside:
        return [as_type(v, inside[0], f"{where}[{i}]") for i, v in enumerate(value)]
    if kind is tuple:
        hints = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
        if len(hints) != len(value):
            raise _wrong(value, f"a list of {len(hints)}", where)
        return tuple(
            as_type(v, h, f"{where}[{i}]")
            for i, (v, h) in enumerate(zip(value, hints, strict=True))
        )
    return value


def _without_constants(text: str | bytes) -> str | bytes:
    """JSON in the form that records have; older versions wrote NaN into them."""
    if not re.search(
        b"NaN|Infinity", text if isinstance(text, bytes) else text.encode()
    ):
        return text
    try:
        return json.dumps(json.loads(text, parse_constant=lambda _: None))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        # Larger integers than any float could not be converted.
        return type(value) is float or (type(value) is int and abs(value) < 2**1023)
    if kind is tuple:
        return type(value) is list
    return type(value) is kind


def _kind(hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return type(typing.get_args(hint)[0])
    return types.UnionType if origin is typing.Union else origin or hint


def _in_words(hint: Any) -> str:
    return _KINDS[_kind(hint)]


def _kind_of(value: Any) -> str:
    return _KINDS[type(value)]


def _wrong(value: Any, wanted: str, where: str) -> DamagedFile:
    is_plain = not isinstance(value, dict | list)
    shown = one_line(json.dumps(value), 60) if is_plain else _kind_of(value)
    return DamagedFile(f"{one_line(where, 500)} is {shown}, must be {wanted}")
