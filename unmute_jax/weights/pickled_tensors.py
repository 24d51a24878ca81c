"""The names that a pickle of torch may use, and what each of them stands for here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from unmute_jax.errors import InputError

_STORAGE_DTYPES = {
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
# NumPy has no arrays of more axes.
_MOST_AXES = 64
DTYPES = {dtype.name: dtype for dtype in _STORAGE_DTYPES.values()}


class Storage(NamedTuple):
    """The memory that one or several tensors view.

    Attributes:
        dtype: Type of the elements.
        data: The little-endian bytes of the elements, read-only.
    """

    dtype: np.dtype
    data: np.ndarray


class Array(np.ndarray):
    """A tensor or NumPy array; read-only, so that no pickle can write into it."""

    def __setstate__(self, state: Any, /) -> None:
        """Fills an array of `_reconstruct`, which is still empty."""
        if self.size or self.base is not None:
            raise InputError("tries to change what reads it: refused")
        _version, shape, dtype, fortran, data = state
        if (
            not isinstance(dtype, PickledDtype)
            or not isinstance(data, bytes)
            or not _are_counts(shape)
            or np.prod(shape, dtype=object) * dtype.value.itemsize != len(data)
        ):
            raise InputError("holds a NumPy array with an impossible shape")
        fill: Any = super().__setstate__
        fill((1, shape, dtype.value, bool(fortran), data))
        self.flags.writeable = False


class PickledDtype:
    """A NumPy dtype; its byte order arrives after it is made."""

    def __init__(self, code: str, *_: Any) -> None:
        self.value = np.dtype(code if isinstance(code, str) and len(code) < 9 else "O")
        if self.value.kind not in "biufcSU" or not self.value.itemsize:
            raise InputError("holds a NumPy array of no plain type")

    def __setstate__(self, state: tuple) -> None:
        # NumPy would copy an array in another order, each time that it is named.
        if not self.value.newbyteorder(state[1]).isnative:
            raise InputError("holds numbers in big order")


class OrderedDict(dict[Any, Any]):
    """A dict without the attributes that a pickle may set."""

    def __setstate__(self, state: Any) -> None:
        pass


def _ordered_dict(pairs: list[Any] | tuple[Any, ...] = ()) -> OrderedDict:
    """The dict of these pairs, of which only Python 2 writes any."""
    # Keys of other types may take for ever to hash.
    if not all(isinstance(key, str) for key, _ in pairs):
        raise InputError("holds a dict with keys that no weights need")
    return OrderedDict(pairs)


def _tensor(
    storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any
) -> Array:
    """A view of `storage`. NumPy itself checks that it stays inside."""
    numbers = (offset, *_tuple(size), *_tuple(stride))
    is_view = isinstance(storage, Storage) and len(size) == len(stride)
    if not is_view or not _are_counts(numbers) or len(size) > _MOST_AXES:
        raise InputError("holds a tensor with an impossible shape")
    width = storage.dtype.itemsize
    strides = tuple(width * step for step in stride)
    try:
        if 0 in size:
            return _read_only(Array(size, storage.dtype))
        return Array(size, storage.dtype, storage.data, width * offset, strides)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"holds a tensor of shape {list(size)!s:.80} that reaches beyond its "
            f"{storage.data.size} bytes"
        ) from error


def _are_counts(numbers: tuple) -> bool:
    """Whether these are few whole numbers that a shape may hold."""
    are_few = len(numbers) < 200
    return are_few and all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)


def _tuple(items: Any) -> tuple:
    """The items of a tuple or list; of others, there may be more than memory holds."""
    if not isinstance(items, tuple | list):
        raise InputError("holds a tensor with an impossible shape")
    return tuple(items)


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _parameter(data: Any, *_: Any) -> Array:
    """The tensor in a parameter or in a subclass of tensors; the rest is dropped."""
    if not isinstance(data, Array):
        raise InputError("holds a tensor that is made in an unknown way")
    return data


def _scalar(dtype: PickledDtype, data: bytes) -> np.generic:
    if dtype.value.kind == "c":  # As keys of a dict, their hashes could collide.
        raise InputError("holds a complex number outside a tensor")
    return np.frombuffer(data, dtype.value)[0]


# Each takes plain data and objects of this file, and calls nothing that a file could
# choose but others of this table.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    # Protocol 2 writes bytes as text.
    "_codecs.encode": lambda text, *_: str.encode(text, "latin1"),
    "numpy.dtype": PickledDtype,
    "torch.Size": _tuple,
    "torch.device": lambda kind, *index: ":".join([kind, *map(str, map(int, index))]),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": lambda function, _kind, args, _state: (
        _parameter(function(*_tuple(args)))
    ),
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    FUNCTIONS[f"{_module}._reconstruct"] = lambda *_: _read_only(Array((0,), np.int8))
    FUNCTIONS[f"{_module}.scalar"] = _scalar

# Types of storages, and dtypes, are plain text: the name of the NumPy dtype.
CONSTANTS = {
    **{f"torch.{name}Storage": dtype.name for name, dtype in _STORAGE_DTYPES.items()},
    **{f"torch.{name}": name for name in DTYPES},
}
