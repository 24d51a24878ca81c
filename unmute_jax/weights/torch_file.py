"""The files of `torch.save`, without PyTorch: its zip format and the older one.

Tensors of zip files are views of the memory-mapped file: nothing is read that nobody
uses. Storages shared by several tensors stay shared. Devices are ignored.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
from typing import Any

import numpy as np

from unmute_jax.errors import InputError
from unmute_jax.weights.unpickle import Storage, StorageType, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def read_torch(path: str | os.PathLike[str]) -> Any:
    """The object in a file of `torch.save`, its tensors as NumPy arrays.

    `torch.Size` becomes a tuple, a device or dtype a string; objects of classes outside
    the table of `weights.unpickle` become its `Record`.

    Raises:
        InputError: One line that names the file: it is no such file, or truncated, or
            damaged, or asks to run code.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        # Names in a hostile file may hold line breaks.
        raise InputError(f"{path} {' '.join(str(error).split())}") from error


def _read(file: io.BufferedReader) -> Any:
    if not os.fstat(file.fileno()).st_size:
        raise InputError("is empty")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = content[:16]
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(file, np.frombuffer(content, np.uint8))
    if start.startswith(b"\x80"):
        return _read_legacy(content)
    if start.lstrip()[:1] == b"<":
        raise InputError("is a web page: the download gave a page, not the weights")
    raise InputError("is no file of torch.save")


# The zip format --------------------------------------------------------------


def _read_zip(file: io.BufferedReader, content: np.ndarray) -> Any:
    try:
        members = {info.filename: info for info in zipfile.ZipFile(file).infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"is truncated or damaged ({error})") from error
    roots = [n.removesuffix("data.pkl") for n in members if n.endswith("/data.pkl")]
    if len(roots) != 1:
        raise InputError("is a zip file, but not one of torch.save: no data.pkl in it")
    (root,) = roots
    if f"{root}byteorder" in members:
        order = _member(content, members[f"{root}byteorder"]).tobytes()
        if order != b"little":
            raise InputError(f"holds numbers in {order.decode(errors='replace')} order")

    def storage(pid: Any) -> Storage:
        dtype, key, count = _storage_id(pid)
        name = f"{root}data/{key}"
        if name not in members:
            raise InputError(f"is truncated: {name} is not in it")
        data = _member(content, members[name])
        if data.size < count * dtype.itemsize:
            raise InputError(f"is truncated: {name} has {data.size} bytes")
        return Storage(dtype, data)

    pickled = _member(content, members[f"{root}data.pkl"]).tobytes()
    return unpickle(io.BytesIO(pickled), storage)


def _member(content: np.ndarray, info: zipfile.ZipInfo) -> np.ndarray:
    """The bytes of a member, in place: torch.save never compresses."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise InputError(f"has compressed or encrypted parts ({info.filename})")
    header = content[info.header_offset : info.header_offset + 30].tobytes()
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise InputError(f"is damaged: no {info.filename} where it should be")
    start = info.header_offset + 30 + sum(struct.unpack_from("<HH", header, 26))
    data = content[start : start + info.file_size]
    if data.size < info.file_size:
        raise InputError(f"is truncated inside {info.filename}")
    return data


# The format before PyTorch 1.6 -----------------------------------------------


def _read_legacy(content: mmap.mmap) -> Any:
    """Four pickles, a list of storage keys, then per key a count and the bytes."""
    storages: dict[str, Storage] = {}

    def storage(pid: Any) -> Storage:
        dtype, key, count = _storage_id(pid)
        # The bytes come behind the object: until then the tensors view zeros.
        if key not in storages:
            claimed = sum(known.data.size for known in storages.values())
            if claimed + count * dtype.itemsize > len(content):
                raise InputError("is truncated: its tensors are larger than the file")
            data = np.zeros(count * dtype.itemsize, np.uint8)
            storages[key] = Storage(dtype, data)
        return storages[key]

    if unpickle(content, storage) != _MAGIC or unpickle(content, storage) != _PROTOCOL:
        raise InputError("is a pickle, but not one of torch.save")
    system = unpickle(content, storage)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise InputError("holds numbers in big order")
    saved = unpickle(content, storage)
    keys = unpickle(content, storage)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise InputError("is damaged: its list of tensors does not match them")
    for key in keys:
        dtype, data = storages[key].dtype, storages[key].data
        count = int.from_bytes(content.read(8), "little")
        raw = content.read(data.size)
        if count * dtype.itemsize != data.size or len(raw) != data.size:
            raise InputError(f"is truncated inside storage {key}")
        data[:] = np.frombuffer(raw, np.uint8)
    return saved


def _storage_id(pid: Any) -> tuple[np.dtype, str, int]:
    """(dtype, key, count) of a persistent id ("storage", type, key, device, count)."""
    match pid:
        case ("storage", StorageType(dtype=dtype), str(key), _, int(count), *views) if (
            count >= 0 and not any(views)
        ):
            return dtype, key, count
        case _:
            raise InputError("refers to a storage in a way that torch.save does not")
