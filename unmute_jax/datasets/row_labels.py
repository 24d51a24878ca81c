"""Labels in rows of any kind, as the names of classes.

A row of a table or of a WebDataset holds its labels as the index of a class, a name,
several of either, or one number per class that says whether the class is present.
Which of these it is follows from all rows together.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

from unmute_jax.datasets.names import normal_name
from unmute_jax.errors import InputError, one_line

# As in tables of one's own files.
SEPARATOR = ";"


class RowLabels:
    """Reads the labels of rows.

    Attributes:
        classes: Names of all classes, once `names` has been called; the declared ones
            come first, even if no row has them.

    Args:
        separator: Text that separates several names in one, empty if none does; "auto"
            for ";", where texts that seem to be separated by something else are
            refused.
        skip: Function that is told the message about a row without usable labels, whose
            labels are then None; without it, the message is raised.
    """

    def __init__(
        self,
        separator: str = "auto",
        skip: Callable[[str], None] | None = None,
    ):
        self._is_given = separator != "auto"
        self._separator = separator if self._is_given else SEPARATOR
        self._skip = skip
        self.classes: tuple[str, ...] = ()

    def names(
        self,
        values: Sequence[Any],
        declared: Sequence[Sequence[str]],
        where: Callable[[int], str],
    ) -> list[tuple[str, ...] | None]:
        """Returns the names of the classes of each row.

        Args:
            values: What each row holds.
            declared: Names of the classes by index, for each row; empty where the files
                do not say them.
            where: Function that returns the place of a row, for messages.

        Raises:
            InputError: A row has no label, or one that cannot be understood.
        """
        is_multi_hot = self._is_multi_hot(values, declared)
        found: list[tuple[str, ...] | None] = []
        for i, value in enumerate(values):
            try:
                if is_multi_hot:
                    found.append(tuple(str(c) for c, on in enumerate(value) if on))
                else:
                    found.append(self._of_row(value, declared[i]))
            except InputError as error:
                message = f"{where(i)}: {error}"
                if self._skip is None:
                    raise InputError(message) from None
                self._skip(message)
                found.append(None)
        given = dict.fromkeys(name for names in declared for name in names)
        if is_multi_hot:
            given = dict.fromkeys(str(c) for c in range(len(values[0])))
        self._check_separator(values, where)
        _check_types(values, where)
        there = {name for names in found for name in names or ()}
        self.classes = (*given, *sorted(there - given.keys(), key=_order))
        return found

    def _is_multi_hot(
        self, values: Sequence[Any], declared: Sequence[Sequence[str]]
    ) -> bool:
        """Returns whether each row has a number for each class.

        Lists of the same two or more zeros and ones cannot be lists of indices, as
        they would have to contain the same index again, or all of them be alike.
        """
        if any(declared) or not all(isinstance(value, list) for value in values):
            return False
        lengths = {len(value) for value in values}
        return (
            len(lengths) == 1
            and min(lengths) > 1
            and all(_is_number(x) and x in (0, 1) for value in values for x in value)
        )

    def _of_row(self, value: Any, declared: Sequence[str]) -> tuple[str, ...]:
        if value is None:
            raise InputError("has no label")
        if isinstance(value, list):
            names = [self._name(item, declared) for item in value]
            if len(set(names)) < len(names) and any(map(_is_number, value)):
                raise InputError(
                    "its labels name a class twice; lists of zeros and ones would have "
                    "to be of one length in all rows"
                )
        elif isinstance(value, str) and self._separator:
            parts = (part.strip() for part in value.split(self._separator))
            names = [self._name(part, declared) for part in parts if part]
        else:
            names = [self._name(value, declared)]
        return tuple(dict.fromkeys(names))

    def _name(self, value: Any, declared: Sequence[str]) -> str:
        if isinstance(value, str):
            name = normal_name(value)
            if not name:
                raise InputError("has an empty label")
            return name
        if isinstance(value, bool) and not declared:
            return str(value).lower()
        if not _is_number(value) or value != int(value):
            raise InputError(
                f"its label is {one_line(repr(value), 80)}, neither the name nor the "
                "number of a class"
            )
        index = int(value)
        if index == -1:
            raise InputError("its label is -1, which means that it has none")
        if declared and not 0 <= index < len(declared):
            raise InputError(
                f"its label is {index}, of classes 0 to {len(declared) - 1}"
            )
        if index < 0:
            raise InputError(f"its label is {index}, not 0 or more")
        return declared[index] if declared else str(index)

    def _check_separator(
        self, values: Sequence[Any], where: Callable[[int], str]
    ) -> None:
        """Refuses texts that look like lists, unless the user says what they are.

        Splitting lists gives no more names than there are texts, as the names recur;
        splitting names such as "Speech, male" gives more.
        """
        if self._is_given:
            return
        texts: dict[str, int] = {}
        for i, value in enumerate(values):
            if isinstance(value, str):
                texts.setdefault(value, i)
        for mark in (",", "|"):
            parts = {part.strip() for text in texts for part in text.split(mark)}
            lists = [text for text in texts if mark in text]
            if lists and len(parts) <= len(texts):
                raise InputError(
                    f"{where(texts[lists[0]])}: its label {one_line(lists[0], 80)!r} "
                    f"looks like a list; dataset_options.label_separator={mark!r} "
                    f"separates its names, and {SEPARATOR!r} keeps them as one"
                )


def _check_types(values: Sequence[Any], where: Callable[[int], str]) -> None:
    """Refuses data sets with names in some rows and numbers in others."""
    first: dict[bool, int] = {}
    for i, value in enumerate(values):
        for item in value if isinstance(value, list) else [value]:
            if item is not None:
                first.setdefault(isinstance(item, str), i)
    if len(first) == 2:
        raise InputError(
            f"{where(first[True])}: its label is a name, but that of "
            f"{where(first[False])} is a number"
        )


def _is_number(value: Any) -> bool:
    # Larger numbers are no labels, and may not even be floats.
    return isinstance(value, int | float) and -(2**53) < value < 2**53


def _order(name: str) -> tuple[int, str]:
    """Sorts numbers by value, before names."""
    return (int(name), name) if name.isascii() and name.isdigit() else (2**63, name)


def counted(messages: Sequence[str]) -> list[str]:
    """Returns a note about rows that were left out, if there are any."""
    if not messages:
        return []
    reasons = collections.Counter(m.rpartition(": ")[2] for m in messages)
    most = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common(3))
    return [f"{len(messages)} rows left out ({most}), the first: {messages[0]}"]
