"""Reads the files of `torch.save` without PyTorch: the zip format and the older one.

Tensors are views of the memory-mapped file: nothing is read that nobody uses. Tensors
that share a storage still do. Devices are ignored.
"""

from __future__ import annotations

import io
import itertools
import mmap
import os
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any, cast

import numpy as np

from unmute_jax.errors import InputError, one_line
from unmute_jax.weights.pickled_tensors import DTYPES, Storage
from unmute_jax.weights.unpickle import MAX_BYTES, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# The names of 100,000 tensors; those of the published files take 0.1 MB.
_MAX_DIRECTORY = 1 << 23
_OTHER_FORMATS = {
    b"<": "is a web page: the download gave a page, not the weights",
    b"\x1f\x8b": "is compressed with gzip: unpack it first",
    b"version https://git-lfs": "is a Git LFS pointer: run `git lfs pull`",
}


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Returns the object in a file of `torch.save`, with NumPy arrays for tensors.

    A `torch.Size` becomes a tuple, and a device or dtype a string. An object of a class
    that is not in `weights.pickled_tensors` becomes an `InertObject`.

    Raises:
        InputError: The file is no such file, or truncated, or damaged, or asks to run
            code, or is made to exhaust its reader. One line, which names the file.
    """
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise InputError(f"{path} {one_line(str(error))}") from error


def _read(file: io.BufferedReader) -> Any:
    if not os.fstat(file.fileno()).st_size:
        raise InputError("is empty")
    content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = content[:32]
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(file, np.frombuffer(content, np.uint8))
    if start.startswith(b"\x80"):
        return _read_legacy(content)
    for signature, meaning in _OTHER_FORMATS.items():
        if start.lstrip().startswith(signature):
            raise InputError(meaning)
    raise InputError("is no file of torch.save")


def _storage_id(pid: Any) -> tuple[np.dtype, str, int]:
    """Returns (dtype, key, number of elements) of the persistent id of a storage."""
    match pid:
        case ("storage", str(dtype), str(key), _, int(count), *views) if (
            dtype in DTYPES and count >= 0 and not any(views)
        ):
            return DTYPES[dtype], key, count
        case _:
            raise InputError("refers to a storage in a way that torch.save does not")


# The zip format --------------------------------------------------------------


class _BoundedFile:
    """A file whose list of members `zipfile` reads only up to a limit."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._read = file.read

    def read(self, size: int = -1) -> bytes:
        """Reads at most `size` bytes, or all of them if it is -1."""
        most = _MAX_DIRECTORY + 1
        content = self._read(most if size < 0 else min(size, most))
        if len(content) > _MAX_DIRECTORY:
            raise InputError("is a zip file of too many parts")
        return content


def _members(file: io.BufferedReader) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of a zip file by name, none of which overlap."""
    try:
        listed = zipfile.ZipFile(cast(IO[bytes], _BoundedFile(file))).infolist()
    except InputError:
        raise
    # A damaged list of members fails in any way.
    except Exception as error:
        raise InputError(f"is truncated or damaged ({error!s:.100})") from error
    members = {info.filename: info for info in listed}
    if len(members) < len(listed):
        raise InputError("is damaged: two of its parts have the same name")
    listed.sort(key=lambda info: info.header_offset)
    for this, following in itertools.pairwise(listed):
        if this.header_offset + 30 + this.compress_size > following.header_offset:
            raise InputError(f"is damaged: its part {this.filename} overlaps the next")
    return members


def _read_zip(file: io.BufferedReader, content: np.ndarray) -> Any:
    members = _members(file)
    roots = [n.removesuffix("data.pkl") for n in members if n.endswith("/data.pkl")]
    if len(roots) != 1:
        raise InputError("is a zip file, but not one of torch.save: no data.pkl in it")
    (root,) = roots
    if f"{root}byteorder" in members:
        order = _member(content, members[f"{root}byteorder"])[:16].tobytes()
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

    pickled = _member(content, members[f"{root}data.pkl"])
    if pickled.size > MAX_BYTES:
        raise InputError(f"has a pickle of {pickled.size} bytes: no weights need that")
    return unpickle(io.BytesIO(pickled.tobytes()), storage, content.size)


def _member(content: np.ndarray, info: zipfile.ZipInfo) -> np.ndarray:
    """Returns a view of the bytes of a member, which torch.save never compresses."""
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
    """Reads four pickles, a list of storage keys, then the size and bytes of each."""
    head = io.BytesIO(content[:MAX_BYTES])
    zeros: dict[str, Storage] = {}
    claimed = 0

    def placeholder(pid: Any) -> Storage:
        """Returns zeros, which take no memory until they are read."""
        nonlocal claimed
        dtype, key, count = _storage_id(pid)
        if key not in zeros:
            claimed += count * dtype.itemsize
            if claimed > len(content):
                raise InputError("is truncated: its tensors are larger than the file")
            data = np.zeros(count * dtype.itemsize, np.uint8)
            data.flags.writeable = False
            zeros[key] = Storage(dtype, data)
        return zeros[key]

    def read_next(storage: Callable[[Any], Storage]) -> Any:
        return unpickle(head, storage, len(content))

    for number in (_MAGIC, _PROTOCOL):
        value = read_next(placeholder)
        if not isinstance(value, int) or value != number:
            raise InputError("is a pickle, but not one of torch.save")
    system = read_next(placeholder)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise InputError("holds numbers in big order")
    begin = head.tell()
    read_next(placeholder)
    keys = read_next(placeholder)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise InputError("is damaged: its list of tensors does not match them")
    if sorted(keys) != sorted(zeros):
        raise InputError("is damaged: its list of tensors does not match them")
    storages = _legacy_storages(content, head.tell(), keys, zeros)
    # The object is read again, now that it is known where the bytes of its tensors are.
    head.seek(begin)
    return read_next(lambda pid: storages[_storage_id(pid)[1]])


def _legacy_storages(
    content: mmap.mmap, start: int, keys: list[str], zeros: dict[str, Storage]
) -> dict[str, Storage]:
    """Returns views of the storages, which follow each other from `start` on."""
    data, storages = np.frombuffer(content, np.uint8), {}
    for key in keys:
        dtype, size = zeros[key].dtype, zeros[key].data.size
        count = int.from_bytes(data[start : start + 8].tobytes(), "little")
        start += 8
        if count * dtype.itemsize != size or start + size > data.size:
            raise InputError(f"is truncated inside storage {key}")
        storages[key] = Storage(dtype, data[start : start + size])
        start += size
    return storages
