"""A pickle reader that runs nothing from the file.

Names in a pickle resolve from a fixed table of this module. A class that is not in it
becomes an inert `Record` that keeps its arguments and state; a name of Python's own
library that could act (`os.system`, `builtins.eval`) refuses the whole file.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import ml_dtypes
import numpy as np

from unmute_jax.errors import InputError

DTYPES = {
    "Double": np.dtype(np.float64),
    "Float": np.dtype(np.float32),
    "Half": np.dtype(np.float16),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype(np.int64),
    "Int": np.dtype(np.int32),
    "Short": np.dtype(np.int16),
    "Char": np.dtype(np.int8),
    "Byte": np.dtype(np.uint8),
    "Bool": np.dtype(np.bool_),
    "ComplexFloat": np.dtype(np.complex64),
    "ComplexDouble": np.dtype(np.complex128),
}

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


@runtime_checkable
class Stream(Protocol):
    """A source of bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""
        ...

    def readline(self) -> bytes:
        """The bytes up to the next line break."""
        ...


class _Fixed:
    """What a pickle may hold but not change."""

    def __setstate__(self, state: Any) -> None:
        raise InputError("tries to change what reads it: refused")


@dataclasses.dataclass(frozen=True)
class Storage(_Fixed):
    """The bytes that one or several tensors view.

    Attributes:
        dtype: Of the elements.
        data: Their little-endian bytes.
    """

    dtype: np.dtype
    data: np.ndarray


@dataclasses.dataclass(frozen=True)
class StorageType(_Fixed):
    """What a name like `torch.FloatStorage` stands for."""

    dtype: np.dtype


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


def unpickle(stream: Stream, storage: Callable[[Any], Storage]) -> Any:
    """The next pickled object of `stream`.

    Args:
        stream: Left right behind the object.
        storage: From the persistent id of a tensor storage to its bytes.

    Raises:
        InputError: The pickle is damaged, or names what no weights need.
    """
    try:
        return _Unpickler(stream, storage).load()
    except InputError:
        raise
    # A damaged pickle fails in any way; nothing of it has been run.
    except Exception as error:
        raise InputError(f"is truncated or damaged ({error})") from error


# The unpickler written in Python: the one in C makes room for whatever a number in the
# file asks for.
class _Unpickler(pickle._Unpickler):  # pyright: ignore[reportPrivateUsage]
    def __init__(self, stream: Stream, storage: Callable[[Any], Storage]) -> None:
        super().__init__(stream)
        self._storage = storage
        self._records: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        dotted = f"{_OLD_MODULES.get(module, module)}.{name}"
        if dotted in _TABLE:
            return _TABLE[dotted]
        top = dotted.split(".")[0]
        known = top in _DATA_MODULES or dotted in _DATA_NAMES
        if top in sys.stdlib_module_names and not known:
            raise InputError(f"asks to run {dotted}, which no weights need: refused")
        # Made anew for each file, so that no file can leave anything behind in them.
        return self._records.setdefault(
            dotted, type("Record", (Record,), {"name": dotted})
        )

    def persistent_load(self, pid: Any) -> Storage:
        return self._storage(pid)


# What the names of the table do ----------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Call(_Fixed):
    """A function that a pickle may call."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class _OrderedDict(dict[Any, Any]):
    """A dict (they keep their order) without the attributes a pickle may set."""

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(
    storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any
) -> np.ndarray:
    """A view of `storage`; NumPy itself checks that it stays inside."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(_is_count(n) for n in numbers):
        raise InputError("holds a tensor with an impossible shape")
    if 0 in size:
        return np.empty(size, storage.dtype)
    width = storage.dtype.itemsize
    strides = tuple(width * step for step in stride)
    try:
        return np.ndarray(size, storage.dtype, storage.data, width * offset, strides)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"holds a tensor of shape {list(size)} that reaches beyond its "
            f"{storage.data.size} bytes"
        ) from error


def _is_count(n: Any) -> bool:
    return type(n) is int and n >= 0


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise InputError(f"holds bytes in the encoding {encoding!r}, not latin1")
    return text.encode("latin1")


class _Dtype:
    """A NumPy dtype whose byte order arrives later."""

    __slots__ = ("value",)

    def __init__(self, code: str, *_: Any) -> None:
        self.value = np.dtype(code)
        if self.value.kind not in "biufcSU":
            raise InputError(f"holds a NumPy array of {self.value}: not of numbers")

    def __setstate__(self, state: tuple) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array(np.ndarray):
    """A NumPy array that fills itself only with as many bytes as its shape needs."""

    def __setstate__(self, state: Any, /) -> None:
        _version, shape, dtype, fortran, data = state
        if (
            not isinstance(dtype, _Dtype)
            or not isinstance(data, bytes)
            or not all(_is_count(n) for n in shape)
            or np.prod(shape, dtype=object) * dtype.value.itemsize != len(data)
        ):
            raise InputError("holds a NumPy array with an impossible shape")
        fill: Any = super().__setstate__
        fill((1, shape, dtype.value, bool(fortran), data))


def _scalar(dtype: _Dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype.value)[0]


def _size(numbers: tuple | list) -> tuple:
    if not isinstance(numbers, tuple | list):
        raise InputError("holds a torch.Size of no numbers")
    return tuple(numbers)


def _device(kind: str, index: int | None = None) -> str:
    return kind if index is None else f"{kind}:{index}"


_TABLE: dict[str, Any] = {
    "collections.OrderedDict": _OrderedDict,
    "_codecs.encode": _Call(_encode),
    "numpy.dtype": _Call(_Dtype),
    "torch.Size": _Call(_size),
    "torch.device": _Call(_device),
    "torch._utils._rebuild_tensor": _Call(_tensor),
    "torch._utils._rebuild_tensor_v2": _Call(_tensor),
    "torch._utils._rebuild_parameter": _Call(lambda data, *_: data),
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in DTYPES.items()},
    **{f"torch.{dtype.name}": dtype.name for dtype in DTYPES.values()},
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _TABLE[f"{_module}._reconstruct"] = _Call(lambda *_: _Array((0,), np.int8))
    _TABLE[f"{_module}.scalar"] = _Call(_scalar)
