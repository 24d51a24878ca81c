"""What the names in a torch pickle stand for: a fixed table, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.records import Record

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


@dataclasses.dataclass(frozen=True)
class Storage:
    """The bytes that one or several tensors view.

    Attributes:
        dtype: Of the elements.
        data: Their little-endian bytes.
    """

    dtype: np.dtype
    data: np.ndarray


@dataclasses.dataclass(frozen=True)
class StorageType:
    """What a name like `torch.FloatStorage` stands for."""

    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class Call:
    """A function that a pickle may call."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        """What it makes."""
        return self.function(*args)


class OrderedDict(dict[Any, Any]):
    """A dict (they keep their order) without the attributes a pickle may set."""

    def __init__(self, pairs: Any = ()) -> None:
        super().__init__()
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            check_key(key)
            self[key] = value

    def __setstate__(self, state: Any) -> None:
        pass


def check_key(key: Any) -> None:
    """Refuses keys whose hashes a file could make collide, or take for ever.

    Raises:
        InputError: The key is no word, number of 63 bits, or tuple of words.
    """
    if isinstance(key, tuple):
        good = len(key) <= 16 and all(isinstance(part, str) for part in key)
    elif isinstance(key, int):
        good = abs(key) < 1 << 63
    else:
        plain = str | bytes | float | None | np.integer | np.floating | Record
        good = isinstance(key, plain)
    if not good:
        raise InputError("holds a dict with keys that no weights need")


def _tensor(
    storage: Storage, offset: int, size: tuple, stride: tuple, *_: Any
) -> np.ndarray:
    """A view of `storage`; NumPy itself checks that it stays inside."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(_is_count(n) for n in numbers):
        raise InputError("holds a tensor with an impossible shape")
    if len(size) != len(stride):
        raise InputError("holds a tensor with an impossible shape")
    if 0 in size:
        return np.empty(size, storage.dtype)
    width = storage.dtype.itemsize
    strides = tuple(width * step for step in stride)
    try:
        return np.ndarray(size, storage.dtype, storage.data, width * offset, strides)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"holds a tensor of shape {list(size)!s:.80} that reaches beyond its "
            f"{storage.data.size} bytes"
        ) from error


def _is_count(n: Any) -> bool:
    return type(n) is int and n >= 0


def _of_a_type(function: Any, _kind: Any, args: tuple, _state: Any) -> np.ndarray:
    """A tensor of a subclass, or one with attributes: neither is kept."""
    if function not in (_TENSOR, _PARAMETER):
        raise InputError("holds a tensor that is made in an unknown way")
    return function(*args)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise InputError(f"holds bytes in the encoding {encoding!r:.20}, not latin1")
    return text.encode("latin1")


class Dtype:
    """A NumPy dtype whose byte order arrives later."""

    __slots__ = ("value",)

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 8:
            raise InputError("holds a NumPy array of no plain type")
        self.value = np.dtype(code)
        if self.value.kind not in "biufcSU":
            raise InputError(f"holds a NumPy array of {self.value}: not of numbers")

    def __setstate__(self, state: tuple) -> None:
        self.value = self.value.newbyteorder(state[1])


class Array(np.ndarray):
    """A NumPy array that fills itself only with as many bytes as its shape needs."""

    def __setstate__(self, state: Any, /) -> None:
        _version, shape, dtype, fortran, data = state
        if (
            not isinstance(dtype, Dtype)
            or not isinstance(data, bytes)
            or not all(_is_count(n) for n in shape)
            or np.prod(shape, dtype=object) * dtype.value.itemsize != len(data)
        ):
            raise InputError("holds a NumPy array with an impossible shape")
        fill: Any = super().__setstate__
        fill((1, shape, dtype.value, bool(fortran), data))


def _scalar(dtype: Dtype, data: bytes) -> np.generic:
    return np.frombuffer(data, dtype.value)[0]


def _size(numbers: tuple | list) -> tuple:
    if not isinstance(numbers, tuple | list):
        raise InputError("holds a torch.Size of no numbers")
    return tuple(numbers)


def _device(kind: str, index: int | None = None) -> str:
    if not isinstance(kind, str) or type(index) not in (int, type(None)):
        raise InputError("holds a torch.device without a name")
    return kind if index is None else f"{kind}:{index}"


_TENSOR, _PARAMETER = Call(_tensor), Call(lambda data, *_: data)

TABLE: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "_codecs.encode": Call(_encode),
    "numpy.dtype": Call(Dtype),
    "torch.Size": Call(_size),
    "torch.device": Call(_device),
    "torch._utils._rebuild_tensor": _TENSOR,
    "torch._utils._rebuild_tensor_v2": _TENSOR,
    "torch._utils._rebuild_parameter": _PARAMETER,
    "torch._utils._rebuild_parameter_with_state": _PARAMETER,
    "torch._tensor._rebuild_from_type_v2": Call(_of_a_type),
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in DTYPES.items()},
    **{f"torch.{dtype.name}": dtype.name for dtype in DTYPES.values()},
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    TABLE[f"{_module}._reconstruct"] = Call(lambda *_: Array((0,), np.int8))
    TABLE[f"{_module}.scalar"] = Call(_scalar)
