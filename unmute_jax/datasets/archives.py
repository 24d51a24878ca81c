"""Published archives: fetched whole or not at all, and tars unpacked once."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import tarfile
import zlib

from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2")

_MEGABYTE = 10**6


def is_tar(path: pathlib.Path) -> bool:
    """Whether the name of a file is that of a tar archive."""
    return path.name.endswith(TAR_SUFFIXES)


def unpack(archive: pathlib.Path) -> pathlib.Path:
    """The folder with the contents of a tar archive.

    Nothing in a compressed tar can be found without reading all that is before it, so
    it is unpacked, once, into the cache; a changed archive gets another folder.

    Raises:
        InputError: It is damaged, or there is no room for its contents.
    """
    stat = archive.stat()
    text = f"{archive.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    key = hashlib.sha256(text.encode()).hexdigest()[:12]
    target = cache_dir("datasets") / "unpacked" / f"{archive.name}-{key}"
    if target.exists():
        return target
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True)
        _extract(archive, partial)
        if not target.exists():
            partial.rename(target)
    except (tarfile.TarError, EOFError, zlib.error):
        raise InputError(
            f"{archive}: is not a whole tar archive; its download was cut short"
        ) from None
    except OSError as error:
        # Another process may have been faster; what it made is complete and equal.
        if not target.exists():
            reason = error.strerror or str(error)
            raise InputError(f"{archive}: cannot be unpacked: {reason}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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
            # Refuses paths that lead out of the folder, devices and the like.
            tar.extract(member, folder, filter="data")
            advance(raw.tell() // _MEGABYTE - done)
            done = raw.tell() // _MEGABYTE
