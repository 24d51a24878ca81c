"""Tar archives, unpacked once into the cache."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import tarfile
import tempfile
import zlib

from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir, describe_fault, fitting, refuse_lfs_pointer

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2")

_MEGABYTE = 10**6


def is_tar(path: pathlib.Path) -> bool:
    """Returns whether a file is called like a tar archive."""
    return path.name.endswith(TAR_SUFFIXES)


def unpack(archive: pathlib.Path) -> pathlib.Path:
    """Returns the folder with the contents of a tar archive.

    To find a file in a compressed tar, everything before it must be decompressed. So
    the archive is unpacked once, into the cache; a changed archive gets a new folder.

    Raises:
        InputError: The archive is damaged, or there is no space for its contents.
    """
    refuse_lfs_pointer(archive)
    stat = archive.stat()
    text = f"{archive.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    target = fitting(cache_dir("datasets") / "unpacked" / f"{archive.name}-{key}")
    if target.exists():
        return target
    temporary: pathlib.Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(
            tempfile.mkdtemp(
                dir=target.parent, prefix=f"{target.name[:60]}.", suffix=".part"
            )
        )
        # Others may not look into a temporary folder, but into this one they may.
        contents = temporary / "contents"
        contents.mkdir()
        _extract(archive, contents)
        if not target.exists():
            contents.rename(target)
    except (tarfile.TarError, EOFError, zlib.error):
        raise InputError(
            f"{archive}: is not a whole tar archive; its download was cut short"
        ) from None
    except OSError as error:
        # Another process may have finished first; its result is the same.
        if not target.exists():
            error.filename = error.filename or str(target)
            reason = describe_fault(error)
            raise InputError(f"{archive}: cannot be unpacked: {reason}") from None
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _extract(archive: pathlib.Path, folder: pathlib.Path) -> None:
    total = archive.stat().st_size // _MEGABYTE
    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, mode="r|*") as tar,
        progress(f"unpacking {archive.name}", total, unit="MB") as advance,
    ):
        done = 0
        for member in tar:
            # The filter refuses paths out of the folder, devices and the like.
            tar.extract(member, folder, filter="data")
            advance(raw.tell() // _MEGABYTE - done)
            done = raw.tell() // _MEGABYTE
