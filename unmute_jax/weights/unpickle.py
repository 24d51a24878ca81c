"""Reads a pickle with the standard library, without running anything from it.

`pickle.Unpickler` builds the objects, but finds no other names than those of
`weights.pickled_tensors`. A class that is not among them becomes an `InertObject`,
which keeps its arguments and state as data. A name of Python's own library that could
act (`os.system`, `builtins.eval`) refuses the whole file. Before anything is built, one
walk over the opcodes refuses what could exhaust the reader or change it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.inert import InertObject
from unmute_jax.weights.pickled_tensors import CONSTANTS, FUNCTIONS, Storage

# A checkpoint of 1.2 B parameters takes 0.1 MB and 30,000 steps; states of optimizers
# and logs of training take more.
MAX_BYTES = 1 << 26
MAX_STEPS = 3_000_000
MAX_CLASSES = 1000
# Bytes that calls copy: nothing needs to be copied much more often than it is stored.
MAX_COPIES = 4 * MAX_BYTES
# Tied weights view the same bytes twice; hardly any file does so with all of them.
MAX_VIEWS = 4

# Names of the standard library that checkpoints hold as data, and that stay inert.
_DATA_MODULES = frozenset(
    "argparse collections datetime decimal enum fractions pathlib types typing "
    "uuid".split()
)
_DATA_NAMES = frozenset(
    f"builtins.{name}"
    for name in "bool bytearray bytes complex dict float frozenset int list object "
    "range set slice str tuple".split()
) | {"copyreg._reconstructor"}
# Types whose items calls may copy. Arrays are views, and are never taken apart.
_COPIED = str | bytes | tuple | list | dict | set | frozenset
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


def unpickle(
    stream: io.BytesIO, storage: Callable[[Any], Storage], file_bytes: int
) -> Any:
    """Returns the next pickled object of `stream`, and stops right behind it.

    Args:
        stream: Pickles of at most `MAX_BYTES` in all.
        storage: Function from the persistent id of a tensor storage to the storage.
        file_bytes: Size of the file in bytes, which limits the size of all tensors
            together: they may view the same bytes again and again.

    Raises:
        InputError: The pickle is damaged, or uses a name that no weights need, or is
            made to exhaust its reader.
    """
    try:
        return _Unpickler(_checked(stream), storage, file_bytes).load()
    except InputError:
        raise
    # A damaged pickle fails in any way; nothing of it has been run.
    except Exception as error:
        raise InputError(f"is truncated or damaged ({error!s:.100})") from error


class _Unpickler(pickle.Unpickler):
    """Finds the names of the table only, and counts the memory that calls take."""

    def __init__(
        self, program: bytes, storage: Callable[[Any], Storage], file_bytes: int
    ) -> None:
        super().__init__(io.BytesIO(program), encoding="latin1")
        self._storage, self._file_bytes = storage, file_bytes
        self._copied = self._viewed = 0
        self._classes: dict[str, type[InertObject]] = {}

    def persistent_load(self, pid: Any) -> Storage:
        return self._storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{_OLD_MODULES.get(module, module)}.{name}"
        if dotted in CONSTANTS:
            return CONSTANTS[dotted]
        if dotted in FUNCTIONS:
            return lambda *args: self._call(FUNCTIONS[dotted], *args)
        top = dotted.split(".")[0]
        is_data = top in _DATA_MODULES or dotted in _DATA_NAMES
        if top in sys.stdlib_module_names and not is_data:
            raise InputError(f"asks to run {dotted}, which no weights need: refused")
        if dotted not in self._classes:
            if len(self._classes) == MAX_CLASSES:
                raise InputError(f"names more than {MAX_CLASSES} classes")

            def new(cls: type[InertObject], /, *args: Any, **kwargs: Any) -> Any:
                return self._call(InertObject.__new__, cls, *args, **kwargs)

            made = type("InertObject", (InertObject,), {"name": dotted, "__new__": new})
            self._classes[dotted] = made
        return self._classes[dotted]

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a function, which may copy arguments that a pickle holds only once."""
        for part in (args, kwargs, *args):
            items = len(part) if isinstance(part, _COPIED) else 1
            self._copied += items * (1 if isinstance(part, str | bytes) else 8)
        if self._copied > MAX_COPIES:
            raise InputError("is made to fill the memory: it copies the same again")
        made = function(*args, **kwargs)
        if isinstance(made, np.ndarray):
            self._viewed += made.nbytes
            if self._viewed > MAX_BYTES + MAX_VIEWS * self._file_bytes:
                raise InputError(
                    f"holds tensors of {self._viewed} bytes in {self._file_bytes} "
                    "bytes of file"
                )
        return made


# The walk over the opcodes ---------------------------------------------------------
#
# The C unpickler reserves the memory that a file announces, calls whatever it finds on
# its stack, sets items and states in whatever it finds there, and hashes any key. A
# tuple that holds the same tuple twice, sixty levels deep, takes 2^60 steps to hash,
# and numbers can be chosen whose hashes collide. So the walk follows what kind of
# object lies where on the stack. Kinds are the names of `pickletools`, and these:
#
#   "text"          text or bytes of at most 64 KiB
#   "number"        a number, of 63 bits if it is whole; None, True or False
#   "words"         a tuple of at most 16 texts
#   "parts"         a tuple of at most 16 texts, numbers, names and objects
#   "name"          what `find_class` returns
#   "object"        what a call with "words" or "parts" returns
#   "large object"  what any other call returns

_SMALL = frozenset(["text", "number", "name", "object"])
_KEYS = _SMALL | {"words"}
_OBJECTS = ("object", "large object")
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ")
# What an opcode adds to, and which of its operands are keys.
_TARGETS = {
    "APPEND": "list",
    "APPENDS": "list",
    "SETITEM": "dict",
    "SETITEMS": "dict",
    "ADDITEMS": "set",
}
_HASHED = {
    "SETITEM": slice(1, None, 2),
    "SETITEMS": slice(1, None, 2),
    "DICT": slice(0, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(None),
}


def _checked(stream: io.BytesIO) -> bytes:
    """Returns the next pickle of `stream`, after checking that it is safe to load.

    Frames are left out: they only say how much to read at once, and may be wrong.
    """
    begin, parts = stream.tell(), list[bytes]()
    stack, marked, memo = list[str](), list[list[str]](), dict[int, str]()
    opcodes = cast(Any, pickletools.genops(stream))
    for step, (opcode, arg, position) in enumerate(opcodes):
        name, before = opcode.name, opcode.stack_before
        if step > MAX_STEPS:
            raise InputError(f"holds more than {MAX_STEPS} objects beside its tensors")
        # Protocol 5 takes buffers from elsewhere, and EXT objects of the process.
        if opcode.proto > 4 or name.startswith("EXT"):
            raise InputError(f"uses {name} in a pickle, as torch.save never does")
        if name == "FRAME":
            parts.append(stream.getbuffer()[begin:position].tobytes())
            begin = stream.tell()
        elif name == "MARK":
            marked.append(stack)
            stack = []
        elif name == "POP" and not stack:
            stack = marked.pop()
        elif name.endswith("PUT") or name == "MEMOIZE":
            number = len(memo) if name == "MEMOIZE" else arg
            if not 0 <= number <= step:
                raise InputError("is damaged: it numbers its objects oddly")
            memo[number] = stack[-1]
        elif name.endswith("GET"):
            stack.append(memo[arg])
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            operands, count = list[str](), len(before)
            if pickletools.markobject in before:
                operands, stack = stack, marked.pop()
                count = before.index(pickletools.markobject)
            if len(stack) < count:
                raise InputError("is damaged: it takes more objects than there are")
            operands[:0] = stack[len(stack) - count :]
            del stack[len(stack) - count :]
            if opcode.stack_after:
                stack.append(_result(opcode, arg, operands))
    parts.append(stream.getbuffer()[begin : stream.tell()].tobytes())
    return b"".join(parts)


def _result(opcode: pickletools.OpcodeInfo, arg: Any, operands: list[str]) -> str:
    """Returns the kind of object that an opcode makes of operands of these kinds."""
    name, made = opcode.name, opcode.stack_after[0].name
    if name in _TARGETS and operands[0] not in (_TARGETS[name], *_OBJECTS):
        raise InputError("is damaged: it adds to what is no collection")
    if name in _HASHED and not _KEYS.issuperset(operands[_HASHED[name]]):
        raise InputError("holds a dict with keys that no weights need")
    if name in _CALLS and operands[0] != "name":
        raise InputError("is damaged: it calls what is no function")
    if name == "BUILD" and operands[0] not in _OBJECTS:
        raise InputError("tries to change what reads it: refused")
    if name in _TARGETS or name == "BUILD":
        return operands[0]
    if name in _CALLS:
        is_small = operands[1:] in (["words"], ["parts"])
        return "object" if is_small else "large object"
    if name in ("GLOBAL", "STACK_GLOBAL", "INST"):
        return "large object" if name == "INST" else "name"
    if made in ("int", "int_or_bool"):
        return "number" if abs(arg) < 1 << 63 else made
    if made in ("float", "bool", "None"):
        return "number"
    if made in ("str", "bytes", "bytes_or_str"):
        return "text" if len(arg) <= 1 << 16 else made
    if made == "tuple" and len(operands) <= 16 and _SMALL.issuperset(operands):
        return "words" if set(operands) <= {"text"} else "parts"
    return made
