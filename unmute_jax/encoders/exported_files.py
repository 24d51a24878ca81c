"""Reads rows of npz and safetensors files of tokens that other code has written."""

from __future__ import annotations

import functools
import math
import pathlib
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors

from unmute_jax.encoders.token_arrays import NAMES
from unmute_jax.errors import InputError, one_line, unknown_name
from unmute_jax.io import parse_json, refuse_lfs_pointer
from unmute_jax.zips import FAULTS, open_zip, read_npz

SUFFIXES = (".npz", ".safetensors")
# Patches of clips, time steps, bands and features.
_MOST_AXES = 4


@dataclass(frozen=True)
class _Packed:
    """An array in a compressed npz file: reading a row unpacks the whole array."""

    path: pathlib.Path
    name: str
    shape: tuple[int, ...]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return _unpacked(self.path, self.name)[rows]


class _Slices:
    """An array in a safetensors file."""

    def __init__(self, whole: Any):
        self._whole = whole
        self.shape: tuple[int, ...] = tuple(whole.get_shape())

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.concatenate([self._whole[int(i) : int(i) + 1] for i in rows])


# An array on disk, which has a shape and is indexed by the numbers of the rows to read.
Rows = np.ndarray | _Packed | _Slices


@dataclass(frozen=True)
class TokenFile:
    """The clips in one file.

    Attributes:
        path: The file.
        ids: Ids of its clips.
        arrays: Arrays by name, with one row per clip.
    """

    path: pathlib.Path
    ids: tuple[str, ...]
    arrays: dict[str, Rows]


def check_whole(path: pathlib.Path) -> None:
    """Compares the checksums in an npz file with its content; others have none.

    Raises:
        InputError: They differ, or the file cannot be read.
    """
    refuse_lfs_pointer(path)
    if path.suffix != ".npz":
        return
    try:
        with open_zip(path) as archive:
            damaged = archive.testzip()
    except InputError:
        raise
    except FAULTS as error:
        raise _unreadable(path, error) from error
    if damaged is not None:
        raise InputError(f"{path} is damaged: the checksum of {damaged!r:.80} differs")


def open_file(path: pathlib.Path) -> TokenFile:
    """Opens a file and reads the ids of its clips, but no array.

    Raises:
        InputError: The file is damaged, or holds wrong arrays.
    """
    try:
        refuse_lfs_pointer(path)
        file = (_open_npz if path.suffix == ".npz" else _open_safetensors)(path)
        # Halves of characters could not be written again.
        "".join(file.ids).encode()
    except InputError:
        raise
    # Headers of damaged arrays fail in many ways.
    except Exception as error:
        raise _unreadable(path, error) from error
    for name, rows in file.arrays.items():
        if name not in NAMES:
            raise unknown_name("array", name, (*NAMES, "ids"), path)
        if not 0 < len(rows.shape) <= _MOST_AXES or rows.shape[0] != len(file.ids):
            raise InputError(
                f"{path} has {len(file.ids)} ids, and {name} of shape "
                f"{list(rows.shape)!s:.80}: it must have one row per clip"
            )
    if "patches" not in file.arrays:
        raise InputError(f"{path} has no patches, only {', '.join(file.arrays)}")
    return file


def _unreadable(path: pathlib.Path, error: Exception) -> InputError:
    reason = one_line(str(error), 200)
    return InputError(f"{path} cannot be read, or is cut short ({reason})")


# Files of type npz, which are zip archives of npy files


def _open_npz(path: pathlib.Path) -> TokenFile:
    with open_zip(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if "ids" not in members:
            raise _no_ids(path, "an array `ids` of strings")
        ids = _strings(path, read_npz(path, ["ids"])["ids"])
        rows: dict[str, Rows] = {
            name: _member(path, archive, member)
            for name, member in members.items()
            if name != "ids"
        }
    return TokenFile(path, ids, rows)


def _member(
    path: pathlib.Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Rows:
    """A memory map of an uncompressed array, or a reader of a compressed one."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
        header = file.tell()
    if dtype.hasobject:
        raise InputError(f"{path}: {member.filename} holds Python objects, not numbers")
    size = header + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != member.file_size:
        raise InputError(
            f"{path} is damaged: {member.filename} has {member.file_size} bytes, which "
            f"is not the size of an array {list(shape)!s:.80} of {dtype}"
        )
    if member.compress_type != zipfile.ZIP_STORED:
        return _Packed(path, member.filename.removesuffix(".npy"), shape)
    with open(path, "rb") as file:
        # The name and the extra field may be longer here than in the central directory.
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    start = member.header_offset + 30 + name + extra + header
    order = "F" if is_fortran else "C"
    return np.memmap(path, dtype, "r", offset=start, shape=shape, order=order)


# Clips are mostly in the order of the data set, so that the file of the last clips is
# usually that of the next ones.
@functools.lru_cache(maxsize=len(NAMES))
def _unpacked(path: pathlib.Path, name: str) -> np.ndarray:
    return read_npz(path, [name])[name]


def _strings(path: pathlib.Path, ids: np.ndarray) -> tuple[str, ...]:
    if ids.ndim != 1 or ids.dtype.kind not in "US":
        raise InputError(
            f"ids of {path} must be a list of strings; they are {ids.dtype} of shape "
            f"{list(ids.shape)}"
        )
    return tuple(map(str, ids.astype(str)))


# Files of type safetensors


def _open_safetensors(path: pathlib.Path) -> TokenFile:
    file = safetensors.safe_open(path, framework="np")
    text = (file.metadata() or {}).get("ids")
    if text is None:
        raise _no_ids(path, 'metadata={"ids": json.dumps([...])}')
    ids = parse_json(text)
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise InputError(
            f"ids in the metadata of {path} must be a JSON list of strings"
        )
    arrays: dict[str, Rows] = {
        name: _Slices(file.get_slice(name)) for name in file.keys()
    }
    return TokenFile(path, tuple(ids), arrays)


def _no_ids(path: pathlib.Path, where: str) -> InputError:
    return InputError(
        f"{path} does not say which clips it holds: write their ids as {where}"
    )
