"""Cache folders, file locks and files that are written atomically."""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import tempfile
from collections.abc import Generator
from typing import BinaryIO

from unmute_jax.errors import InputError

CACHE_VARIABLE = "UNMUTE_CACHE"
TOKENS_VARIABLE = "UNMUTE_TOKENS"
_log = logging.getLogger(__name__)


# Folders of caches.


def cache_dir(kind: str) -> pathlib.Path:
    """Returns the folder of one kind of cache, which need not exist yet.

    The environment variable `UNMUTE_CACHE` names the folder of all caches. By default
    it is `unmute_jax` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Args:
        kind: "datasets", "tokens", "weights", "cells" or "compiled".

    Raises:
        InputError: `UNMUTE_CACHE` holds a URL.
    """
    base = os.environ.get(CACHE_VARIABLE)
    if base and "://" in base:
        raise InputError(
            f"{CACHE_VARIABLE}={base}: must be a folder; only {TOKENS_VARIABLE} may be "
            "a URL"
        )
    if base:
        return pathlib.Path(base).expanduser() / kind
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return pathlib.Path(home).expanduser() / "unmute_jax" / kind


def token_root() -> str | pathlib.Path:
    """Returns the place of all token stores, which need the most space by far.

    The environment variable `UNMUTE_TOKENS` names it: a folder or a URL such as
    "gs://bucket/folder". By default it is `cache_dir("tokens")`.
    """
    root = os.environ.get(TOKENS_VARIABLE)
    if not root:
        return cache_dir("tokens")
    return root if "://" in root else pathlib.Path(root).expanduser()


# Files.


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Generator[None]:
    """Lets one process at a time enter; the others log that they wait.

    Args:
        path: Lock file, which remains.
    """
    import filelock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        _log.warning("waiting for another process, which holds %s", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file that appears under its name only when it is complete.

    Args:
        path: Name of the file.
        content: Its content; text is written as UTF-8.
    """
    with writing(path) as out:
        out.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Opens a temporary file beside `path` that is renamed to `path` on success.

    Args:
        path: Name of the file.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id would not do as a name: containers that share a disk have the same.
    handle, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    temporary = pathlib.Path(name)
    try:
        with open(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        readable_as_folder(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def readable_as_folder(path: pathlib.Path) -> None:
    """Lets those who may read the folder of a new file, private at first, read it.

    Args:
        path: Name of the file.
    """
    path.chmod(0o200 | path.parent.stat().st_mode & 0o444)
