"""Inputs for `fuzz`, and how the answer of a reader to one of them is judged."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unmute_jax.errors import InputError

# The longest message that still is one clear line, without the names of folders.
LONGEST = 400
AS_BEFORE, OTHER_VALUES, REFUSED = "as before", "other values", "refused"
NAMED = "named and left out"


@dataclass(frozen=True, kw_only=True)
class Case:
    """An input for a reader.

    Attributes:
        kind: What it was before it was changed.
        mutation: How it was changed.
        files: Contents of its files by their names, with slashes between folders.
        may_differ: Whether it may be read with other values: no digest or checksum
            protects it, or they were computed again after the change.
    """

    kind: str
    mutation: str
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    may_differ: bool = False

    def write(self, folder: pathlib.Path) -> None:
        """Writes the files to a folder, which is made."""
        folder.mkdir()
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def judge(
    folder: pathlib.Path, read: Callable[[], Any], original: Any, may_differ: bool
) -> str:
    """Reads a case and says what came of it.

    Args:
        folder: Folder of the case.
        read: Function that reads it and returns nested dictionaries, lists, arrays,
            numbers and texts: all that matters of what was read.
        original: The same of the input before it was changed.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: Other values were read without a word, or the message is not
            one short line that names a file of the case.
    """
    told = Told()
    with told:
        try:
            found = read()
        except InputError as error:
            check_line(str(error), folder)
            return REFUSED
    for line in told.lines:
        check_line(line, folder)
    place = first_difference(found, original)
    if place is None:
        return AS_BEFORE
    if told.lines:
        return NAMED
    assert may_differ, f"reads another value without a word: {place}"
    return OTHER_VALUES


def check_line(message: str, folder: pathlib.Path | None = None) -> None:
    """Checks that a message is one short line.

    Args:
        message: The message.
        folder: The folder of the file that the message must name; None if it is about
            none.

    Raises:
        AssertionError: It is not.
    """
    assert message.isprintable(), f"{message!r:.300} is not one printable line"
    short = message
    if folder is not None:
        short = message.replace(str(folder), "")
        assert short != message, f"{message!r:.300} does not name the file"
    assert len(short) <= LONGEST, f"{len(short)} characters: {message!r:.500}"


class Told(logging.Handler):
    """Collects what the library says in its log. Use it as a context manager.

    Attributes:
        lines: The messages.
    """

    def __init__(self):
        """Collects nothing yet."""
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a message."""
        self.lines.append(record.getMessage())

    def __enter__(self) -> Told:
        logging.getLogger("unmute_jax").addHandler(self)
        logging.getLogger("unmute_jax").propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("unmute_jax").removeHandler(self)
        logging.getLogger("unmute_jax").propagate = True


def first_difference(found: Any, original: Any, place: str = "") -> str | None:
    """Returns where two nested values differ, and in what; None if they do not.

    Numbers that are both NaN are equal, and so are arrays of the same type and bytes.

    Args:
        found: Nested dictionaries, lists, arrays, numbers and texts.
        original: The same.
        place: Name of the values.
    """
    if isinstance(found, Mapping) and isinstance(original, Mapping):
        for key in original.keys() | found.keys():
            if key not in found or key not in original:
                return f"{place}.{key!r:.40} is only in one"
            inside = first_difference(found[key], original[key], f"{place}.{key!r:.40}")
            if inside:
                return inside
        return None
    if isinstance(found, list | tuple) and isinstance(original, list | tuple):
        if len(found) != len(original):
            return f"{place} has {len(found)} items instead of {len(original)}"
        for i, (a, b) in enumerate(zip(found, original, strict=True)):
            if inside := first_difference(a, b, f"{place}[{i}]"):
                return inside
        return None
    if isinstance(found, np.ndarray) and isinstance(original, np.ndarray):
        about = [f"{x.dtype}{list(x.shape)}" for x in (found, original)]
        if about[0] != about[1]:
            return f"{place} is {about[0]} instead of {about[1]}"
        is_same = found.tobytes() == original.tobytes()
        return None if is_same else f"{place} has other numbers"
    is_nan = found != found and original != original
    if type(found) is type(original) and (found == original or is_nan):
        return None
    return f"{place} is {_short(found)} instead of {_short(original)}"


def _short(value: Any) -> str:
    return f"{value[:60] if isinstance(value, str | bytes) else value!r:.60}"
