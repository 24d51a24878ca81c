"""Tar archives: their members in order, and whole archives unpacked into the cache.

An archive comes from somebody else. Of its members, only regular files are taken, and
only to paths that are made here of checked names. So no member leads out of the cache,
whatever links, devices or names there are, on every version of Python.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import hashlib
import io
import os
import pathlib
import shutil
import tarfile
import zlib
from collections.abc import Generator, Iterator
from typing import IO, cast

from unmute_jax.console import progress, size_text
from unmute_jax.datasets.counting import refuse_while_counting
from unmute_jax.errors import InputError, one_line
from unmute_jax.io import (
    cache_dir,
    describe_fault,
    fitting,
    parts_inside,
    refuse_lfs_pointer,
)
from unmute_jax.locks import locked
from unmute_jax.zips import MOST_MEMBERS, most_bytes

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2")

_MEGABYTE = 10**6
# Bytes that are unpacked at once.
_CHUNK = 1 << 20
# The most bytes of a header; long names, comments and attributes are in it.
_MOST_HEADER = 1 << 20
# How compressed files begin, and what reads them.
_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
_OTHER_FORMATS = {
    b"\xfd7zXZ": "is compressed with xz: unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd: unpack it first (unzstd)",
    b"PK\x03\x04": "is a zip archive: call it .zip",
    b"<": "is a web page: the download gave a page, not the archive",
}
_LINKS = {tarfile.SYMTYPE: "symbolic link", tarfile.LNKTYPE: "hard link"}
_DEVICES = {
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}

# A member, and its content if it is a regular file.
Member = tuple[tarfile.TarInfo, io.BufferedReader | None]


def is_tar(path: pathlib.Path) -> bool:
    """Returns whether a file is called like a tar archive."""
    return path.name.endswith(TAR_SUFFIXES)


def unpack(archive: pathlib.Path) -> pathlib.Path:
    """Returns the folder with the contents of a tar archive.

    To find a file in a compressed tar, everything before it must be decompressed. So
    the archive is unpacked once, into the cache; a changed archive gets a new folder.

    Raises:
        InputError: The archive is damaged, holds something else than files and folders,
            or would grow beyond all measure; or there is no space for its contents.
    """
    refuse_lfs_pointer(archive)
    stat = archive.stat()
    text = f"{archive.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    target = fitting(cache_dir("datasets") / "unpacked" / f"{archive.name}-{key}")
    if target.exists():
        return target
    refuse_while_counting(
        f"{archive} ({size_text(stat.st_size)}) is unpacked when needed: its clips "
        "cannot be counted before"
    )
    lock = cache_dir("locks") / f"unpacked-{key}"
    try:
        with locked(lock, f"unpacking {archive}"):
            if not target.exists():
                _unpack(archive, target, target.with_name(f".{key}.part"))
    except OSError as error:
        error.filename = error.filename or str(target)
        reason = describe_fault(error)
        raise InputError(f"{archive}: cannot be unpacked: {reason}") from None
    return target


def _unpack(
    archive: pathlib.Path, target: pathlib.Path, temporary: pathlib.Path
) -> None:
    """Unpacks an archive into a temporary folder, which then gets its name."""
    # A process that was killed may have left it.
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _extract(archive, temporary)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: pathlib.Path, folder: pathlib.Path) -> None:
    total = archive.stat().st_size // _MEGABYTE
    with (
        archive.open("rb") as raw,
        reading_tar(archive, raw) as members,
        progress(f"unpacking {archive.name}", total, unit="MB") as advance,
    ):
        done = 0
        for member, content in members:
            if content is not None:
                _write(folder, archive, member, content)
            elif not member.isdir():
                raise InputError(
                    f"{archive}: is refused: its member {member.name!r:.100} "
                    f"{_other_kind(member)}, and only files and folders are unpacked"
                )
            advance(raw.tell() // _MEGABYTE - done)
            done = raw.tell() // _MEGABYTE


def _write(
    folder: pathlib.Path,
    archive: pathlib.Path,
    member: tarfile.TarInfo,
    content: io.BufferedReader,
) -> None:
    """Writes a regular file below a folder in which there are no links."""
    path = folder.joinpath(*parts_inside(member.name, f"{archive}: is refused"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            shutil.copyfileobj(content, out, _CHUNK)
    except OSError as error:
        reasons = {
            errno.EEXIST: "is in it twice, or is both a file and a folder",
            errno.ENOTDIR: "lies in a folder that is also a file",
            errno.ENAMETOOLONG: "has a name that is too long for this disk",
        }
        if error.errno not in reasons:
            raise
        raise InputError(
            f"{archive}: is refused: its member {member.name!r:.100} "
            f"{reasons[error.errno]}"
        ) from None
    # The times of files tell whether a prepared data set is still that of its files.
    with contextlib.suppress(OverflowError, ValueError, OSError):
        os.utime(path, (member.mtime, member.mtime))


def _other_kind(member: tarfile.TarInfo) -> str:
    """Says what a member is that is neither a regular file nor a folder."""
    if kind := _LINKS.get(member.type):
        return f"is a {kind} to {member.linkname!r:.120}"
    if member.issparse():
        return "is a sparse file"
    return f"is a {_DEVICES.get(member.type, f'member of type {member.type!r}')}"


@contextlib.contextmanager
def reading_tar(
    path: pathlib.Path, raw: io.BufferedReader, *, compressed: bool = True
) -> Generator[Iterator[Member]]:
    """Opens a tar archive whose members are read in their order.

    Args:
        path: Path of the archive, for messages.
        raw: The archive, open for reading at its beginning.
        compressed: Whether it may be compressed with gzip or bzip2.

    Yields:
        The members one by one. Their names and sizes are checked, and behind the last
        one that the archive ends there. Each content must be read before the next.

    Raises:
        InputError: The archive is damaged or malicious.
    """
    start = raw.read(6)
    raw.seek(0)
    for signature, reason in _OTHER_FORMATS.items():
        if start.startswith(signature):
            raise InputError(f"{path}: {reason}")
    unpackers = [u for sign, u in _PACKED.items() if start.startswith(sign)]
    if unpackers and not compressed:
        raise InputError(
            f"{path}: is compressed, so clips cannot be read one by one: unpack it "
            "first (gunzip, bunzip2)"
        )
    try:
        file = unpackers[0](raw) if unpackers else raw
        yield _members(path, file, os.fstat(raw.fileno()).st_size)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        # Raised by the decompressors, not by the system.
        raise _damaged(path, error) from None


def _damaged(path: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f"{path}: is not a whole tar archive ({one_line(str(error), 100)}): it is "
        "damaged, or its download was cut short"
    )


class _Headers:
    """A file that `tarfile` reads only as far as it should.

    Attributes:
        last: What was read last.
        end: Position up to which may be read.
    """

    def __init__(self, file: io.BufferedIOBase, path: pathlib.Path, size: int):
        self.last, self.end = b"", _MOST_HEADER
        self.tell, self.seek, self._read = file.tell, file.seek, file.read
        self._path, self._size = path, size

    def read(self, size: int) -> bytes:
        """Reads the next bytes.

        Raises:
            tarfile.ReadError: A header or a member goes on behind its end.
            InputError: The archive holds more than recordings of its size could.
        """
        if not 0 <= size <= self.end - self.tell():
            raise tarfile.ReadError("a header is too long")
        self.last = self._read(size)
        # Nothing is read behind the end of an archive that was cut short.
        if self.last and self.tell() > (most := most_bytes(self._size)):
            raise InputError(
                f"{self._path}: is refused: it has {size_text(self._size)} and holds "
                f"more than {size_text(most)}, as few recordings or tables do: if that "
                "is right, unpack it yourself"
            )
        return self.last


def _members(
    path: pathlib.Path, file: io.BufferedIOBase, size: int
) -> Iterator[Member]:
    """Yields the members of a tar archive of a given size on the disk."""
    headers, count = _Headers(file, path, size), 0
    with _damaged_headers():
        tar = tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:")
    while True:
        with _damaged_headers():
            member = tar.next()
        if member is None:
            break
        count += 1
        if count > MOST_MEMBERS:
            raise InputError(f"{path}: is refused: more than {MOST_MEMBERS:,} members")
        if not member.isdir():
            parts_inside(member.name, f"{path}: is refused")
        # Such a member would be read again and again.
        if member.size < 0 or tar.offset <= member.offset:
            raise tarfile.ReadError("a member has no proper size")
        headers.end = tar.offset
        is_file = member.isreg() and not member.issparse()
        content = tar.extractfile(member) if is_file else None
        yield member, cast(io.BufferedReader | None, content)
        headers.end = tar.offset + _MOST_HEADER
        # Otherwise the headers of millions of clips stay in memory.
        tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
    _check_end(path, file, headers.last)


def _check_end(path: pathlib.Path, file: io.BufferedIOBase, last: bytes) -> None:
    """Makes sure that an archive ends with blocks of zeros, as all archives do.

    Args:
        path: Path of the archive, for messages.
        file: The archive, open behind the last block that was read.
        last: The last block that was read.
    """
    if len(last) < tarfile.BLOCKSIZE:
        raise InputError(
            f"{path}: has no mark at its end, so its download was cut short"
        )
    if last.strip(b"\0"):
        raise tarfile.ReadError("a header is damaged")
    # At the end of a compressed file its checksum is compared.
    while rest := file.read(_CHUNK):
        if rest.strip(b"\0"):
            raise InputError(
                f"{path}: is damaged, or goes on after its end; archives are joined "
                "with tar --concatenate, not with cat"
            )


@contextlib.contextmanager
def _damaged_headers() -> Generator[None]:
    """Turns whatever `tarfile` raises for damaged headers into its own error."""
    try:
        yield
    except (InputError, tarfile.TarError, EOFError, OSError, zlib.error):
        raise
    except Exception as error:
        raise tarfile.ReadError(f"a header is damaged: {error!s:.80}") from error
