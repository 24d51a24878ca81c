"""Reads zip archives and npz files that somebody else has made.

A member is read only if its bytes are what the list of members says, and if it does not
grow beyond all measure: 4 MB of deflate can hold 4 GB of zeros.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from unmute_jax.console import size_text
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import parts_inside, refuse_lfs_pointer

# More members than the largest published data sets have (AudioSet: two million).
MOST_MEMBERS = 5_000_000
# Bits of the flags and the attributes of a member.
_ENCRYPTED, _UNIX_MODE = 1, 16
# What stands in the place of a number of members that needs more than 16 bits.
_UNSTATED = 0xFFFF
# The decompressors of the other methods cannot be told how much to unpack at once.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_METHOD_NAMES = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz"}
# What `zipfile` and NumPy raise for members that are damaged.
FAULTS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(RuntimeError, ValueError, OverflowError),
)


def open_zip(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Opens a zip archive whose list of members is in order.

    Args:
        path: Path of the archive.

    Raises:
        InputError: The file is no zip archive, or cut short; or a name leads out of the
            archive, is there twice, or the members are too many or too large.
    """
    try:
        refuse_lfs_pointer(path)
        size, stated = os.stat(path).st_size, _stated_members(path)
        archive = zipfile.ZipFile(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except MemoryError:
        raise
    # A damaged list of members fails in any way.
    except Exception:
        raise InputError(
            f"{path}: is not a zip archive, or its download was cut short"
        ) from None
    try:
        # One changed length in the list hides the members behind it.
        if stated is not None and stated != len(archive.infolist()) & _UNSTATED:
            raise InputError(
                f"{path}: is damaged: its list has {len(archive.infolist()):,} of "
                f"{stated:,} members"
            )
        _check_list(archive.infolist(), size, f"{path}: is refused")
    except InputError:
        archive.close()
        raise
    return archive


def _stated_members(path: str | os.PathLike[str]) -> int | None:
    """Returns how many members the end of an archive states (modulo 2^16), or None."""
    with open(path, "rb") as file:
        file.seek(-min(os.fstat(file.fileno()).st_size, 22 + _UNSTATED), os.SEEK_END)
        end = file.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) < at + 12:
        return None
    (count,) = struct.unpack_from("<H", end, at + 10)
    return None if count == _UNSTATED else count


def _check_list(members: list[zipfile.ZipInfo], size: int, where: str) -> None:
    """Refuses lists that could harm whoever reads all of the members."""
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{where}: it has more than {MOST_MEMBERS:,} members")
    # Their own method fails for a name without characters.
    files = [member for member in members if not member.filename.endswith("/")]
    seen = set[str]()
    for member in files:
        parts_inside(member.orig_filename, where)
        if member.filename in seen:
            raise InputError(f"{where}: {member.filename!r:.200} is in it twice")
        seen.add(member.filename)
    if sum(member.compress_size for member in files) > size:
        raise InputError(f"{where}: its members overlap")
    _refuse_growth(f"{where}: it", sum(m.file_size for m in files), size)


def most_bytes(packed: int) -> int:
    """Returns how many bytes recordings or tables could have once they are unpacked.

    Audio takes at best a tenth of its size when it is packed, and tables a twentieth; a
    few megabytes of zeros, packed as well as possible, grow a thousand times and more.

    Args:
        packed: Number of bytes before unpacking.
    """
    return 10**8 + 100 * packed


def _refuse_growth(what: str, size: int, packed: int) -> None:
    if size > most_bytes(packed):
        raise InputError(
            f"{what} would grow from {size_text(packed)} to {size_text(size)}, as few "
            "recordings or tables do: if that is right, unpack it yourself"
        )


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns the bytes of a member of a zip archive.

    Args:
        archive: The archive, open for reading.
        name: Name of the member.

    Raises:
        InputError: The member is missing, damaged, too large, encrypted, a link, or
            compressed in an unusual way. The message does not name it.
    """
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise InputError("is not in the archive") from None
    if stat.S_ISLNK(member.external_attr >> _UNIX_MODE):
        raise InputError("is a symbolic link, not a file")
    if member.flag_bits & _ENCRYPTED:
        raise InputError("is encrypted: unpack the archive with its password first")
    if member.compress_type not in _METHODS:
        method = member.compress_type
        raise InputError(
            f"is compressed with {_METHOD_NAMES.get(method, f'method {method}')}; only "
            "deflate can be read, so unpack the archive first"
        )
    _refuse_growth("it", member.file_size, member.compress_size)
    try:
        return archive.read(member)
    except FAULTS as error:
        raise InputError(f"cannot be unpacked: {one_line(str(error), 100)}") from None


def read_npz(
    path: str | os.PathLike[str], names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Returns arrays of an npz file, which may not be written to.

    Args:
        path: Path of the file.
        names: Names of the arrays, without ".npy".

    Raises:
        InputError: The file or an array is damaged, missing, or holds objects.
    """
    with open_zip(path) as archive:
        arrays = dict[str, np.ndarray]()
        for name in names:
            try:
                arrays[name] = _array(read_member(archive, f"{name}.npy"))
            except ValueError as error:
                raise InputError(f"{path}: its array {name} {error}") from None
    return arrays


def _array(content: bytes) -> np.ndarray:
    """Returns the array in a file of type npy, a view of its bytes.

    Raises:
        ValueError: The file is damaged, or its array holds objects.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, is_fortran, dtype = read(file)
        if dtype.hasobject:
            raise InputError("holds Python objects, not numbers")
        flat = np.frombuffer(content, dtype, offset=file.tell())
        return flat.reshape(shape, order="F" if is_fortran else "C")
    except InputError:
        raise
    except Exception as error:  # A damaged header fails in any way.
        raise InputError(f"is damaged ({error!s:.100})") from None
