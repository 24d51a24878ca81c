"""Writes files in the zip format of `torch.save`, without PyTorch."""

from __future__ import annotations

import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}
_CHUNK = 1 << 20


def write_torch_zip(path: pathlib.Path, content: Any, seed: int = 0) -> None:
    """Writes `content` as `torch.save` would.

    Args:
        path: The file to write.
        content: Nested dicts and lists of strings, numbers and arrays. Arrays that
            repeat one number (`numpy.broadcast_to`) are written as random numbers. An
            array that occurs twice is stored once.
        seed: The seed of the random numbers.
    """
    pickled, storages = bytearray(b"\x80\x02"), dict[int, np.ndarray]()
    _write(content, pickled, storages)
    pickled += b"."
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        archive.writestr("archive/data.pkl", bytes(pickled))
        for number, array in enumerate(storages.values()):
            name = f"archive/data/{number}"
            with archive.open(name, "w", force_zip64=True) as out:
                for chunk in random_or_own(array, rng):
                    out.write(chunk.data)
        archive.writestr("archive/version", "3\n")


def random_or_own(array: np.ndarray, rng: np.random.Generator) -> Any:
    """Yields `array` in chunks, or random numbers if it repeats one number."""
    if array.size and any(array.strides):
        yield np.ascontiguousarray(array)
        return
    for start in range(0, array.size, _CHUNK):
        size = min(_CHUNK, array.size - start)
        yield (rng.standard_normal(size, np.float32) / 50).astype(array.dtype)


def _write(value: Any, out: bytearray, storages: dict[int, np.ndarray]) -> None:
    match value:
        case None:
            out += b"N"
        case bool():
            out += b"\x88" if value else b"\x89"
        case int():
            out += b"J" + struct.pack("<i", value)
        case float():
            out += b"G" + struct.pack(">d", value)
        case str():
            out += b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple() | list():
            out += b"(" if isinstance(value, tuple) else b"]("
            for item in value:
                _write(item, out, storages)
            out += b"t" if isinstance(value, tuple) else b"e"
        case dict():
            out += b"}("
            for key, item in value.items():
                _write(key, out, storages)
                _write(item, out, storages)
            out += b"u"
        case np.ndarray():
            _write_tensor(value, out, storages)
        case _:
            raise TypeError(f"cannot write a value of type {type(value)}")


def _write_tensor(
    array: np.ndarray, out: bytearray, storages: dict[int, np.ndarray]
) -> None:
    storages.setdefault(id(array), array)
    key = str(list(storages).index(id(array)))
    out += b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage"
    out += f"ctorch\n{_STORAGES[array.dtype.name]}\n".encode()
    for part in (key, "cpu", array.size):
        _write(part, out, storages)
    out += b"tQK\x00"
    strides = np.cumprod([1, *array.shape[:0:-1]])[::-1][: array.ndim].tolist()
    for part in (tuple(array.shape), tuple(strides), False, {}):
        _write(part, out, storages)
    out += b"tR"
