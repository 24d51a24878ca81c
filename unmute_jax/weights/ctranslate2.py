"""Reads `model.bin` files of CTranslate2, which faster-whisper uses.

The format has no published description. This one was read in the source of ctranslate2
4.8.5 (MIT): a header with the name of the model's specification, then named variables,
then other names of some of them.
"""

from __future__ import annotations

import math
import mmap
import pathlib
import struct
from typing import Any

import ml_dtypes
import numpy as np

from unmute_jax.errors import InputError

_VERSION = 6
# Longest name of a specification; the real ones have about a dozen characters.
_LONGEST = 64
_MAX_VARIABLES = 1 << 16
_MAX_AXES = 8
_DTYPES = {
    0: np.dtype("<f4"),
    1: np.dtype(np.int8),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
    5: np.dtype(ml_dtypes.bfloat16),
}
_SCALE = "weight_scale"


def is_ctranslate2(start: bytes) -> bool:
    """Whether a file that starts with these 64 bytes is a model of CTranslate2."""
    if len(start) < 8:
        return False
    version, length = struct.unpack_from("<IH", start)
    name = start[6 : 6 + length]
    return (
        0 < version < 256
        and 1 < length <= _LONGEST - 6
        and len(name) == length
        and name.endswith(b"Spec\0")
    )


def read_ctranslate2(path: pathlib.Path) -> dict[str, Any]:
    """Reads a file of CTranslate2.

    Weights of eight bits are de-quantised to float32. All others are views of the
    file.

    Args:
        path: Path of the file.

    Returns:
        `{"model": variables by name, "config": {"num_heads": N}}`.

    Raises:
        InputError: The file is damaged, of another version, or has quantised weights of
            another kind.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(content, str(path))
    try:
        return _read(reader)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is a damaged or truncated file of CTranslate2, at byte "
            f"{reader.place}"
        ) from error


def _read(reader: _Reader) -> dict[str, Any]:
    version = reader.number("I")
    specification = reader.text()
    revision = reader.number("I")
    if version != _VERSION:
        raise InputError(
            f"{reader.path} is of version {version} of CTranslate2's format (revision "
            f"{revision} of {specification}); version {_VERSION} can be read"
        )
    tensors: dict[str, np.ndarray] = {}
    for _ in range(reader.count()):
        name = reader.text()
        if name in tensors:
            raise InputError(f"{reader.path} holds {name} twice")
        tensors[name] = reader.tensor(name)
    for _ in range(reader.count()):
        alias, name = reader.text(), reader.text()
        if name not in tensors:
            raise InputError(f"{reader.path} names {name} as {alias}, and lacks it")
        tensors[alias] = tensors[name]
    if not reader.is_at_end:
        raise InputError(f"{reader.path} goes on behind its last name")
    heads = tensors.get("encoder/num_heads")
    config = (
        {} if heads is None or heads.size != 1 else {"num_heads": int(heads.item())}
    )
    return {"model": _dequantised(tensors, reader.path), "config": config}


def _dequantised(tensors: dict[str, np.ndarray], path: str) -> dict[str, np.ndarray]:
    """The variables, in which floating-point weights replace those of eight bits.

    A weight is its number divided by the scale of its row.
    """
    for name in [name for name in tensors if name.endswith(f"/{_SCALE}")]:
        scale = tensors.pop(name)
        weight = name.removesuffix("_scale")
        number = tensors.get(weight)
        if number is None or number.dtype != np.int8 or scale.shape != number.shape[:1]:
            raise InputError(
                f"{path} holds {name} for weights that are not 8-bit numbers in rows: "
                "convert the model again with --quantization float16"
            )
        if not number.ndim or not np.all(scale > 0):
            raise InputError(f"{path} holds scales in {name} that are not positive")
        rows = scale.astype(np.float32).reshape(-1, *[1] * (number.ndim - 1))
        tensors[weight] = number.astype(np.float32) / rows
    return tensors


class _Reader:
    """A place in the file from which values are read, each behind the last one."""

    def __init__(self, content: mmap.mmap, path: str) -> None:
        self.content = content
        self.path = path
        self.place = 0

    @property
    def is_at_end(self) -> bool:
        return self.place == len(self.content)

    def number(self, kind: str) -> int:
        """Reads an unsigned number of the kind of a `struct` format."""
        (value,) = struct.unpack_from(f"<{kind}", self.content, self.place)
        self.place += struct.calcsize(f"<{kind}")
        return value

    def count(self) -> int:
        """Reads the number of entries that follow."""
        count = self.number("I")
        if count > _MAX_VARIABLES:
            raise ValueError("more entries than any model has")
        return count

    def text(self) -> str:
        """Reads a string; its length counts the zero at its end."""
        data = self._bytes(self.number("H"))
        if not data.endswith(b"\0"):
            raise ValueError("a string without its end")
        return data[:-1].decode()

    def tensor(self, name: str) -> np.ndarray:
        """Reads a variable as a view of the file."""
        axes = self.number("B")
        if axes > _MAX_AXES:
            raise ValueError("more axes than any variable has")
        shape = tuple(self.number("I") for _ in range(axes))
        kind, size = self.number("B"), self.number("I")
        if kind not in _DTYPES:
            raise InputError(
                f"{self.path} holds {name} as data type {kind}, which is not known"
            )
        dtype, start = _DTYPES[kind], self.place
        if math.prod(shape) * dtype.itemsize != size:
            raise ValueError("a shape that does not fit the number of bytes")
        if start + size > len(self.content):
            raise ValueError("the end of the file")
        self.place += size
        return np.ndarray(shape, dtype, self.content, start)

    def _bytes(self, length: int) -> bytes:
        data = self.content[self.place : self.place + length]
        if len(data) < length:
            raise ValueError("the end of the file")
        self.place += length
        return data
