"""What a pickle may turn into besides plain data: inert records, never live objects."""

from __future__ import annotations

from typing import Any, ClassVar


class Record:
    """An object of a class that the reader does not know, as plain data.

    Attributes:
        name: Dotted name of the class.
        args: What it was made from.
        state: What its `__setstate__` or `__dict__` would have got.
        items: What was appended to it.
        mapping: What was set in it by key.
    """

    name: ClassVar[str]
    args: tuple[Any, ...]
    state: Any
    items: list[Any]
    mapping: dict[Any, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Record:
        """Makes the fields here: a pickle need not call `__init__`."""
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
        """Called for subclasses of list and set."""
        self.items.append(item)

    add = append

    def __repr__(self) -> str:
        return f"<record of {self.name}>"


def fields(value: Any) -> dict[Any, Any]:
    """The named parts of a dict, of a record, or of an omegaconf node; else none."""
    if isinstance(value, Record):
        state = value.state if isinstance(value.state, dict) else {}
        value = state.get("_content", state)
    return value if isinstance(value, dict) else {}


def lookup(value: Any, *path: str) -> Any:
    """What lies under `path` of names; None where it ends early."""
    for name in path:
        value = fields(value).get(name)
    if isinstance(value, Record) and "_val" in fields(value):
        return fields(value)["_val"]
    return value
