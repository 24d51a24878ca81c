"""Inert objects: how objects of unknown classes in a torch file are kept as data."""

from __future__ import annotations

from typing import Any, ClassVar


class InertObject:
    """An object of a class that the reader does not know.

    Nothing of the class is imported or run. Each class in a file becomes a subclass.

    Attributes:
        name: Dotted name of the class.
        args: Arguments that it was made from; keyword arguments as a last dict.
        state: State that its `__setstate__` or `__dict__` would have received.
        items: Items that were appended to it.
        mapping: Items that were set in it by key.
    """

    name: ClassVar[str]
    args: tuple[Any, ...]
    state: Any
    items: list[Any]
    mapping: dict[Any, Any]

    def __new__(cls, /, *args: Any, **kwargs: Any) -> InertObject:
        """Sets the attributes here, because a pickle need not call `__init__`."""
        self = super().__new__(cls)
        self.args = (*args, kwargs) if kwargs else args
        self.state, self.items, self.mapping = None, [], {}
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.mapping[key] = value

    def append(self, item: Any) -> None:
        """Keeps an item of a subclass of list or set."""
        self.items.append(item)

    add = append

    def __repr__(self) -> str:
        return f"<inert object of {self.name}>"


def fields(value: Any) -> dict[Any, Any]:
    """Returns the named parts of a dict, an inert object or an omegaconf node.

    Anything else has none.
    """
    if isinstance(value, InertObject):
        state = value.state if isinstance(value.state, dict) else {}
        value = state.get("_content", state)
    return value if isinstance(value, dict) else {}


def lookup(value: Any, *path: str) -> Any:
    """Returns what nested fields hold under the names `path`, or None."""
    for name in path:
        value = fields(value).get(name)
    if isinstance(value, InertObject) and "_val" in fields(value):
        return fields(value)["_val"]
    return value
