"""Files of token maps that other code wrote: npz and safetensors, read row by row."""

from __future__ import annotations

import functools
import json
import pathlib
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors

from unmute_jax.encoders.token_arrays import NAMES
from unmute_jax.errors import InputError, unknown_name

SUFFIXES = (".npz", ".safetensors")


@dataclass(frozen=True)
class _Packed:
    """A compressed array: reading a row unpacks all of it."""

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


# An array on disk: it has a shape, and takes the numbers of the rows to read.
Rows = np.ndarray | _Packed | _Slices


@dataclass(frozen=True)
class TokenFile:
    """What one file holds.

    Attributes:
        path: Of the file.
        ids: Of its clips.
        arrays: By name, one row per clip.
    """

    path: pathlib.Path
    ids: tuple[str, ...]
    arrays: dict[str, Rows]


def open_file(path: pathlib.Path) -> TokenFile:
    """The file at `path`; nothing but its ids is read yet.

    Raises:
        InputError: It is damaged, or holds other arrays than it should.
    """
    try:
        file = (_open_npz if path.suffix == ".npz" else _open_safetensors)(path)
    except (OSError, ValueError, zipfile.BadZipFile, safetensors.SafetensorError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path} cannot be read, or is cut short ({e})") from e
    for name, rows in file.arrays.items():
        if name not in NAMES:
            raise unknown_name(f"array of {path}", name, (*NAMES, "ids"))
        if len(rows.shape) == 0 or rows.shape[0] != len(file.ids):
            raise InputError(
                f"{path} has {len(file.ids)} ids, and {name} of shape "
                f"{list(rows.shape)}: one row per clip is wanted"
            )
    if "patches" not in file.arrays:
        raise InputError(f"{path} has no patches, only {', '.join(file.arrays)}")
    return file


# npz: a zip archive of npy files


def _open_npz(path: pathlib.Path) -> TokenFile:
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if "ids" not in members:
            raise _no_ids(path, "an array `ids` of words")
        with np.load(path, allow_pickle=False) as arrays:
            ids = _words(path, arrays["ids"])
        rows: dict[str, Rows] = {
            name: _member(path, archive, member)
            for name, member in members.items()
            if name != "ids"
        }
    return TokenFile(path, ids, rows)


def _member(
    path: pathlib.Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Rows:
    """A memory map of the array where it is stored as it is; else it is unpacked."""
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
    if member.compress_type != zipfile.ZIP_STORED:
        return _Packed(path, member.filename.removesuffix(".npy"), shape)
    with open(path, "rb") as file:
        # The name and the extra field may be longer here than in the index at the end.
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    start = member.header_offset + 30 + name + extra + header
    order = "F" if is_fortran else "C"
    return np.memmap(path, dtype, "r", offset=start, shape=shape, order=order)


# Clips are mostly in the order of the data set: the file of the last ones is the next.
@functools.lru_cache(maxsize=len(NAMES))
def _unpacked(path: pathlib.Path, name: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays[name]


def _words(path: pathlib.Path, ids: np.ndarray) -> tuple[str, ...]:
    if ids.ndim != 1 or ids.dtype.kind not in "US":
        raise InputError(
            f"ids of {path} must be a list of words; they are {ids.dtype} of shape "
            f"{list(ids.shape)}"
        )
    return tuple(map(str, ids.astype(str)))


# safetensors


def _open_safetensors(path: pathlib.Path) -> TokenFile:
    file = safetensors.safe_open(path, framework="np")
    told = (file.metadata() or {}).get("ids")
    if told is None:
        raise _no_ids(path, 'metadata={"ids": json.dumps([...])}')
    ids = json.loads(told)
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise InputError(f"ids in the metadata of {path} must be a JSON list of words")
    arrays: dict[str, Rows] = {
        name: _Slices(file.get_slice(name)) for name in file.keys()
    }
    return TokenFile(path, tuple(ids), arrays)


def _no_ids(path: pathlib.Path, where: str) -> InputError:
    return InputError(
        f"{path} does not say which clips it is of: write their ids as {where}"
    )
