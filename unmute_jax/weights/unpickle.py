"""A pickle reader that runs nothing from the file, and gives up on bombs.

Names in a pickle resolve from the fixed table of `weights.pickled_tensors`. A class
that is not in it becomes an inert `Record` that keeps its arguments and state; a name
of Python's own library that could act (`os.system`, `builtins.eval`) refuses the whole
file. Bytes, steps and copies are counted: a file can neither keep the reader busy for
ever nor fill the memory.
"""

from __future__ import annotations

import io
import pickletools
import sys
from collections.abc import Callable, Sized
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.pickled_tensors import (
    TABLE,
    Array,
    Call,
    Dtype,
    OrderedDict,
    Storage,
    check_key,
)
from unmute_jax.weights.records import Record

# A checkpoint of 1.2 B parameters takes 0.1 MB and 30,000 steps; states of optimizers
# and logs of training take more.
MAX_BYTES = 1 << 26
MAX_STEPS = 3_000_000
MAX_CLASSES = 1000
# Bytes that calls copy: nothing needs to be copied much more often than it is stored.
MAX_COPIES = 4 * MAX_BYTES
# Tied weights view the same bytes twice; hardly any file does so with all of them.
MAX_VIEWS = 4

# Standard-library names that checkpoints hold as data. They become records as well.
_DATA_MODULES = {
    "argparse",
    "collections",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "pathlib",
    "types",
    "typing",
    "uuid",
}
_DATA_NAMES = {
    f"builtins.{name}"
    for name in (
        "bool bytearray bytes complex dict float frozenset int list object range set "
        "slice str tuple"
    ).split()
} | {"copyreg._reconstructor"}
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}

_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = set(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING "
    "SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8".split()
)
_COLLECTING = set(
    "TUPLE LIST DICT FROZENSET APPENDS SETITEMS ADDITEMS INST OBJ".split()
)


def unpickle(
    stream: io.BytesIO, storage: Callable[[Any], Storage], file_bytes: int
) -> Any:
    """The next pickled object of `stream`.

    Args:
        stream: At most `MAX_BYTES` long; left right behind the object.
        storage: From the persistent id of a tensor storage to its bytes.
        file_bytes: Size of the file: what tensors that view the same bytes again and
            again may have in all is measured by it.

    Raises:
        InputError: The pickle is damaged, or names what no weights need, or is made to
            exhaust its reader.
    """
    try:
        return _Machine(storage, file_bytes).run(stream)
    except InputError:
        raise
    # A damaged pickle fails in any way; nothing of it has been run.
    except Exception as error:
        raise InputError(f"is truncated or damaged ({error!s:.100})") from error


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, storage: Callable[[Any], Storage], file_bytes: int) -> None:
        self._storage = storage
        self._file_bytes = file_bytes
        self._tensor_bytes = 0
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._records: dict[str, type[Record]] = {}
        self._copies = 0

    def run(self, stream: io.BytesIO) -> Any:
        for steps, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
            if steps > MAX_STEPS:
                raise InputError(
                    f"holds more than {MAX_STEPS} objects beside its tensors"
                )
            if opcode.name == "STOP":
                return self._stack.pop()
            self._step(opcode.name, arg)
        raise InputError("is truncated or damaged")

    def _step(self, name: str, arg: Any) -> None:
        stack = self._stack
        if name in _VALUES:
            stack.append(arg)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name.endswith("PUT"):  # with BINPUT and LONG_BINPUT
            if not 0 <= arg < 1 << 32:
                raise InputError("is damaged: it numbers its objects oddly")
            self._memo[arg] = stack[-1]
        elif name.endswith("GET"):
            stack.append(self._memo[arg])
        else:
            self._rare_step(name, arg)

    def _rare_step(self, name: str, arg: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "MARK":
                self._marked.append(stack)
                self._stack = []
            case "POP" if stack:
                stack.pop()
            case "POP" | "POP_MARK":
                self._items()
            case "DUP":
                stack.append(stack[-1])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(name[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "PERSID":
                stack.append(self._storage(arg))
            case "BINPERSID":
                stack.append(self._storage(stack.pop()))
            case "GLOBAL":
                stack.append(self._named(*arg.split(" ", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(self._named(module, attribute))
            case "REDUCE" | "NEWOBJ":
                args, function = stack.pop(), stack.pop()
                stack.append(self._called(function, args))
            case "NEWOBJ_EX":
                keywords, args, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._called(function, args, keywords))
            case "BUILD":
                self._set_state(stack.pop())
            case "APPEND":
                self._add([stack.pop()], list)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._set_items([key, value])
            case _:
                self._collect(name, arg)

    def _collect(self, name: str, arg: Any) -> None:
        """What takes everything since the last mark."""
        if name not in _COLLECTING:
            raise InputError(f"uses {name} in a pickle, as torch.save never does")
        items = self._items()
        match name:
            case "TUPLE":
                self._stack.append(tuple(items))
            case "LIST":
                self._stack.append(items)
            case "DICT":
                self._stack.append({})
                self._set_items(items)
            case "FROZENSET":
                for item in items:
                    check_key(item)
                self._stack.append(frozenset(items))
            case "APPENDS":
                self._add(items, list)
            case "SETITEMS":
                self._set_items(items)
            case "ADDITEMS":
                for item in items:
                    check_key(item)
                self._add(items, set)
            case "INST":
                made = self._called(self._named(*arg.split(" ", 1)), tuple(items))
                self._stack.append(made)
            case _:  # OBJ
                self._stack.append(self._called(items[0], tuple(items[1:])))

    def _items(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _named(self, module: Any, name: Any) -> Any:
        if not isinstance(module, str) or not isinstance(name, str):
            raise InputError("is damaged: it refers to what is no name")
        dotted = f"{_OLD_MODULES.get(module, module)}.{name}"
        if dotted in TABLE:
            return TABLE[dotted]
        top = dotted.split(".")[0]
        known = top in _DATA_MODULES or dotted in _DATA_NAMES
        if top in sys.stdlib_module_names and not known:
            raise InputError(f"asks to run {dotted}, which no weights need: refused")
        if dotted not in self._records:
            if len(self._records) == MAX_CLASSES:
                raise InputError(f"names more than {MAX_CLASSES} classes")
            # Made anew for each file, so that none can leave anything behind in them.
            self._records[dotted] = type("Record", (Record,), {"name": dotted})
        return self._records[dotted]

    def _called(self, function: Any, args: Any, keywords: Any = None) -> Any:
        """What a function of the table gives, or a new record of a class."""
        if not isinstance(args, tuple) or not isinstance(function, Call | type):
            raise InputError("is damaged: it calls what is no function")
        self._count_copies(args, *args, keywords)
        made = function(*args, **(keywords or {}))
        if isinstance(made, np.ndarray):
            self._tensor_bytes += made.nbytes
            if self._tensor_bytes > MAX_BYTES + MAX_VIEWS * self._file_bytes:
                raise InputError(
                    f"holds tensors of {self._tensor_bytes} bytes in "
                    f"{self._file_bytes} bytes of file"
                )
        return made

    def _set_state(self, state: Any) -> None:
        target = self._stack[-1]
        if not isinstance(target, Record | OrderedDict | Array | Dtype):
            raise InputError("tries to change what reads it: refused")
        if isinstance(state, tuple):
            self._count_copies(*state[:8])
        target.__setstate__(state)

    def _add(self, items: list[Any], kind: type) -> None:
        target = self._stack[-1]
        if not isinstance(target, kind | Record):
            raise InputError("is damaged: it adds to what is no collection")
        add = target.add if kind is set else target.append
        for item in items:
            add(item)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict | Record):
            raise InputError("is damaged: it adds to what is no collection")
        for key, value in zip(items[::2], items[1::2], strict=True):
            check_key(key)
            target[key] = value

    def _count_copies(self, *parts: Any) -> None:
        """Calls copy their arguments, of which the pickle may hold only one."""
        for part in parts:
            items = len(part) if isinstance(part, Sized) else 1
            self._copies += items * (1 if isinstance(part, str | bytes) else 8)
        if self._copies > MAX_COPIES:
            raise InputError("is made to fill the memory: it copies the same again")
