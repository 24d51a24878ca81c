"""Batches of equal things out of a stream of different ones, as a step of grain."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import grain

T = TypeVar("T")


class Batched(grain.IterDataset[list[T]]):
    """Lists of elements of the same group.

    A list leaves as soon as it is full. At the end of a block those that are not full
    leave too, in the order of their first elements. So what is in a list depends on its
    block alone.
    """

    def __init__(
        self,
        parent: grain.IterDataset[T],
        size: int,
        *,
        group: Callable[[T], Hashable],
        ends_block: Callable[[T], bool],
    ):
        """Makes lists of up to `size` elements of `parent`.

        Args:
            parent: The elements.
            size: Of a full list.
            group: What the elements of a list have in common.
            ends_block: Whether an element is the last one of its block.
        """
        super().__init__(parent)
        self._arguments = size, group, ends_block

    def __iter__(self) -> grain.DatasetIterator[list[T]]:
        """An iterator that can be stopped anywhere and taken up there."""
        return _Iterator(self._parent.__iter__(), *self._arguments)


class _Iterator(grain.DatasetIterator[list[T]]):
    """Its state: where the parent was before the block, and how many lists left since.

    What waits for its list to fill is not part of it: it is read again.
    """

    def __init__(
        self,
        parent: grain.DatasetIterator[T],
        size: int,
        group: Callable[[T], Hashable],
        ends_block: Callable[[T], bool],
    ):
        super().__init__(parent)
        self._size, self._group, self._ends_block = size, group, ends_block
        self._begin()

    def __next__(self) -> list[T]:
        made = next(self._lists, None)
        if made is None:
            self._begin()
            made = next(self._lists)
        self._given += 1
        return made

    def get_state(self) -> dict[str, Any]:
        """See the class."""
        return {"before": self._before, "given": self._given}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to where `state` was got."""
        self._parent.set_state(state["before"])
        self._begin()
        for _ in range(state["given"]):
            next(self)

    def _begin(self) -> None:
        self._before, self._given = self._parent.get_state(), 0
        self._lists = self._of_block()

    def _of_block(self) -> Iterator[list[T]]:
        waiting: dict[Hashable, list[T]] = {}
        for element in self._parent:
            key = self._group(element)
            mine = waiting.setdefault(key, [])
            mine.append(element)
            if len(mine) == self._size:
                yield waiting.pop(key)
            if self._ends_block(element):
                break
        yield from waiting.values()
