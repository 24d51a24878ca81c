"""Checks the values of settings against the ranges that their types state.

The range of a setting stands beside it, in its type:

    epochs: Annotated[int, Within(1, 100_000)] = 30
    report_epoch: Literal["last", "best"] = "last"
    mean: Annotated[float, Within(-1000, 1000)] | None = None
    rates: tuple[Annotated[float, Within(1e-12, 1000)], ...] = (0.1,)

`check` compares a value with such a type, and `described` says in words what the type
allows, for messages and for `--help`. NaN is in no range, and infinities are in none.
"""

from __future__ import annotations

import os
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from unmute_jax.errors import InputError, one_line

# The most characters of a text, which is the longest path that Linux opens.
LONGEST_TEXT = 4096
# The most numbers in a list, each of which is a training of its own.
MOST_ITEMS = 100


@dataclass(frozen=True)
class Within:
    """The range of a number.

    Attributes:
        least: The lowest number of the range.
        most: The highest number of the range.
        below: Whether the number must be below `most`, which is not allowed itself.
        whole: Whether the number must be whole, although it is stored as a float.
        also: Numbers outside the range that are allowed as well.
    """

    least: int | float
    most: int | float
    below: bool = False
    whole: bool = False
    also: tuple[int | float, ...] = ()

    def __contains__(self, value: Any) -> bool:
        """Whether the range holds a number."""
        if value in self.also:
            return True
        if not self.least <= value <= self.most:
            return False
        return not (self.below and value == self.most) and (
            not self.whole or value == int(value)
        )

    def __str__(self) -> str:
        """The range in words, such as "from 0 to below 1"."""
        most = f"{'below ' if self.below else ''}{_number(self.most)}"
        words = f"from {_number(self.least)} to {most}"
        return " or ".join([words, *map(_number, self.also)])


@dataclass(frozen=True)
class Matching:
    """The form of a text.

    Attributes:
        pattern: Regular expression that the whole text must match.
        words: The same in words, as in "must be ...".
    """

    pattern: str
    words: str


def check(value: Any, hint: Any, where: str) -> Any:
    """Returns a value as its type stores it, if the type allows it.

    Whole numbers become floats where the type says float, and lists become tuples.

    Args:
        value: The value.
        hint: The type with its range.
        where: The name of the setting, for the message.

    Raises:
        InputError: The value is not allowed; the message says what is.
    """
    if value is None and is_optional(hint):
        return None
    kind, limit = _parts(hint)
    stored, fits = value, False
    if kind is tuple:
        stored, fits = _checked_items(value, typing.get_args(limit)[0])
    elif kind is Literal:
        fits = isinstance(value, str) and value in typing.get_args(limit)
    elif kind is str:
        fits = isinstance(value, str) and _is_text(value, limit)
    elif kind is bool:
        fits = isinstance(value, bool)
    elif _is_number(value, kind):
        fits = value in limit
        stored = kind(value) if fits else value
    if not fits:
        raise InputError(f"{where}={shown(value)}: must be {described(hint)}")
    return stored


def described(hint: Any) -> str:
    """Says in words which values a type allows, as in "must be ..."."""
    kind, limit = _parts(hint)
    if kind is tuple:
        _, each = _parts(typing.get_args(limit)[0])
        whole = "whole " if each.whole else ""
        words = (
            f"up to {MOST_ITEMS} different {whole}numbers separated by commas, each "
            f"{each}"
        )
    elif kind is Literal:
        *names, last = typing.get_args(limit)
        words = f"{', '.join(names)} or {last}" if names else last
    elif kind is str:
        words = f"text of at most {LONGEST_TEXT:,} characters"
        words = limit.words if limit else words
    elif kind is bool:
        words = "True or False"
    else:
        words = f"a {'whole ' if kind is int or limit.whole else ''}number {limit}"
    return f"{words}, or None" if is_optional(hint) else words


def is_optional(hint: Any) -> bool:
    """Whether a type allows None."""
    return type(None) in typing.get_args(hint)


def required(hint: Any) -> Any:
    """Returns the type without None: `Annotated[int, ...]` for that or None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    return next(a for a in typing.get_args(hint) if a is not type(None))


def plain_type(hint: Any) -> type:
    """Returns the type of the stored values: int for `Annotated[int, ...] | None`."""
    kind, _ = _parts(hint)
    return str if kind is Literal else kind


def is_choice(hint: Any) -> bool:
    """Whether a type is a choice between names."""
    return _parts(hint)[0] is Literal


def _parts(hint: Any) -> tuple[Any, Any]:
    """The kind of a type: int, float, bool, str, tuple or Literal; and its limit.

    The limit is the `Within` of a number, the `Matching` or None of a text, and the
    type itself of a tuple or a Literal.
    """
    hint = required(hint)
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return typing.get_args(hint)[:2]
    return (hint, None) if origin is None else (origin, hint)


def _is_number(value: Any, kind: type) -> bool:
    kinds = int if kind is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _is_text(value: str, form: Matching | None) -> bool:
    if form is not None:
        return re.fullmatch(form.pattern, value) is not None
    try:
        os.fsencode(value)  # Half a pair of surrogates can be in no name of a file.
    except UnicodeEncodeError:
        return False
    return len(value) <= LONGEST_TEXT and "\0" not in value


def _checked_items(value: Any, hint: Any) -> tuple[Any, bool]:
    """The items of a list as they are stored, and whether the list is allowed."""
    if not isinstance(value, (tuple, list)) or not 0 < len(value) <= MOST_ITEMS:
        return value, False
    try:
        items = tuple(check(item, hint, "") for item in value)
    except InputError:
        return value, False
    return items, len(set(items)) == len(items)


def _number(value: int | float) -> str:
    """Such as "1,000,000", "0.5" or "1e-12"."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def shown(value: Any, limit: int = 200) -> str:
    """Returns a value of any kind as short text, for messages.

    Args:
        value: The value.
        limit: Number of characters after which it is cut off.
    """
    try:
        return one_line(repr(value), limit)
    except ValueError:  # Python does not write integers of thousands of digits.
        return "a number of thousands of digits"
