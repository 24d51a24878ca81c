"""Cache folders, atomic files, names, JSON, and faults of the disk."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Generator
from typing import Any, BinaryIO

from unmute_jax.console import size_text
from unmute_jax.errors import InputError

CACHE_VARIABLE = "UNMUTE_CACHE"
TOKENS_VARIABLE = "UNMUTE_TOKENS"
# Bytes that a file name may have on all usual file systems.
_LONGEST_NAME = 255
# Processes that may write the same file at once.
_MOST_WRITERS = 20
# Errors of the disk that are recognised in the texts of other libraries.
_DISK_FAULTS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES),
    *(errno.ENOTDIR, errno.EIO, errno.ENAMETOOLONG),
)
# Objects of our own files lie at most this deep in each other.
_DEEPEST = 50


# Folders of caches.


def cache_dir(kind: str) -> pathlib.Path:
    """Returns the folder of one kind of cache, which need not exist yet.

    The environment variable `UNMUTE_CACHE` names the folder of all caches. By default
    it is `unmute_jax` in `XDG_CACHE_HOME`, or in `~/.cache`.

    Args:
        kind: "datasets", "tokens", "weights", "cells", "compiled", "resampled" or
            "locks".

    Raises:
        InputError: `UNMUTE_CACHE` holds a URL or the name of a file.
    """
    base = os.environ.get(CACHE_VARIABLE)
    if base and "://" in base:
        raise InputError(
            f"{CACHE_VARIABLE}={base}: must be a folder; only {TOKENS_VARIABLE} may be "
            "a URL"
        )
    if base:
        folder = pathlib.Path(base).expanduser()
        if folder.is_file():
            raise InputError(f"{CACHE_VARIABLE}={base}: is a file, not a folder")
        return folder / kind
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


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file that appears under its name only when it is complete.

    Args:
        path: Name of the file.
        content: Its content; text is written as UTF-8. Halves of surrogate pairs,
            which UTF-8 does not have, are written as escapes of Python.
    """
    if isinstance(content, str):
        content = content.encode(errors="backslashreplace")
    with writing(path) as out:
        out.write(content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """Opens a temporary file beside `path` that is renamed to `path` on success.

    Args:
        path: Name of the file.
    """
    path = pathlib.Path(path)
    with naming_disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle, temporary = _open_temporary(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        with open(handle, "wb") as out:
            try:
                yield out
                out.flush()
                os.fsync(out.fileno())
                readable_as_folder(temporary)
                # Before it is closed, since then another process may write to it.
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise


def _open_temporary(path: pathlib.Path) -> tuple[int, pathlib.Path]:
    """Opens an empty temporary file beside `path`, for this process alone.

    Its name has a small number. A file of that name that no process holds a lock on is
    left of one that was killed, and is used again, so that such files do not pile up.
    """
    # A character takes at most four of the bytes of a name.
    start = f".{path.name[:60]}."
    for number in range(_MOST_WRITERS):
        temporary = path.with_name(f"{start}{number}.tmp")
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        is_new = not os.path.lexists(temporary)
        if is_new:
            flags |= os.O_CREAT | os.O_EXCL
        try:
            handle = os.open(temporary, flags, 0o600)
        except OSError as error:
            if is_new and error.errno != errno.EEXIST:
                raise
            continue  # Another process was faster, or it belongs to somebody else.
        if _is_ours(handle, temporary, is_new):
            return handle, temporary
        os.close(handle)
    handle, name = tempfile.mkstemp(".tmp", start, path.parent)
    return handle, pathlib.Path(name)


def _is_ours(handle: int, temporary: pathlib.Path, is_new: bool) -> bool:
    """Locks and empties a temporary file; False if another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where the file system knows no locks, no other process takes a new file.
        return is_new and not isinstance(error, BlockingIOError)
    try:
        found, named = os.fstat(handle), os.stat(temporary, follow_symlinks=False)
    except FileNotFoundError:
        return False
    # The process that held the lock may have given the file its name.
    if not os.path.samestat(found, named):
        return False
    if not is_new and (found.st_uid != os.geteuid() or found.st_nlink > 1):
        return False
    os.ftruncate(handle, 0)
    return True


def readable_as_folder(path: pathlib.Path) -> None:
    """Lets those who may read the folder of a new file, private at first, read it.

    Args:
        path: Name of the file.
    """
    path.chmod(0o200 | path.parent.stat().st_mode & 0o444)


def fitting(path: pathlib.Path) -> pathlib.Path:
    """Returns a path whose file name is not too long for a file system.

    In a name of more than 255 bytes, a hash of all before the suffix takes the place
    of the end. Other names are returned as they are.

    Args:
        path: Path of a file whose name was made of a name that a user chose.
    """
    name = os.fsencode(path.name)
    if len(name) <= _LONGEST_NAME:
        return path
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 12 else ""
    stem = name.removesuffix(os.fsencode(suffix))
    digest = hashlib.sha256(stem).hexdigest()[:16]
    # A character that is cut in two is dropped.
    start = stem[: _LONGEST_NAME - 17 - 12].decode(errors="ignore")
    return path.with_name(f"{start}-{digest}{suffix}")


def parts_inside(name: str, where: str) -> tuple[str, ...]:
    """Returns the parts of a path that somebody else wrote, as in an archive.

    Joined to a folder, they name a file inside of it.

    Args:
        name: The path, with forward slashes.
        where: Place of the name, which begins the message.

    Raises:
        InputError: The path leads out of the folder, or names nothing.
    """
    shown = f"{where}: the name {name!r:.200}"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise InputError(f"{shown} has control characters")
    if name.startswith("/"):
        raise InputError(f"{shown} is an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise InputError(f"{shown} leads out of its folder")
    if not parts:
        raise InputError(f"{shown} names no file")
    return parts


def refuse_lfs_pointer(
    name: str | os.PathLike[str], start: bytes | None = None
) -> None:
    """Refuses a file that Git LFS has put in place of the one that was meant.

    Args:
        name: Name of the file, for the message.
        start: First bytes of its content; by default they are read from the file.

    Raises:
        InputError: The file is a pointer of Git LFS.
    """
    pointer = b"version https://git-lfs.github.com/spec/"
    if start is None:
        with open(name, "rb") as file:
            start = file.read(len(pointer))
    if start.startswith(pointer):
        raise InputError(
            f"{os.fspath(name)}: is a Git LFS pointer, not the file: run `git lfs pull`"
        )


# JSON.


def parse_json(text: str | bytes) -> Any:
    """Parses JSON of a file that may be damaged.

    The parser of the standard library accepts more than the standard allows: the same
    name twice in an object, numbers that are not finite, and halves of surrogate pairs,
    which cannot be written again.

    Args:
        text: The text, which is UTF-8 if it is given as bytes.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply. The message says what
            is wrong, but not where the text comes from.
    """
    try:
        value = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_without_repetition,
            parse_float=_finite,
            parse_constant=_finite,
        )
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _depth(value) > _DEEPEST:
        raise ValueError("it is nested too deeply")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict[str, Any]()
    for name, value in pairs:
        if name in values:
            raise ValueError(f"it has {name[:80]!r} twice")
        values[name] = value
    return values


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"it has the number {number[:40]}, which is not finite")
    return float(number)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        level = [v for x in level for v in (x.values() if isinstance(x, dict) else x)]
    return depth


# Faults of the disk.


def disk_fault(error: BaseException) -> OSError | None:
    """Returns the operating system's error that is behind an exception, if any.

    Libraries in other languages report a full disk as a `RuntimeError` or a
    `ValueError`; only the text tells.

    Args:
        error: Any exception.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause
        for code in _DISK_FAULTS:
            if os.strerror(code) in str(cause):
                return OSError(code, os.strerror(code))
        cause = cause.__cause__
    return None


def check_room(folder: str | os.PathLike[str], needed: int, what: str) -> None:
    """Makes sure that a disk has room for what will be written.

    Args:
        folder: Folder that is written to, which need not exist yet.
        needed: Number of bytes.
        what: Name of what needs the room, in the plural ("the tokens").

    Raises:
        InputError: The disk has less room.
    """
    path = pathlib.Path(folder).absolute()
    existing = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"{what} need {size_text(needed)} but {existing} has {size_text(free)} "
            f"free: make room{_elsewhere(path)}"
        )


@contextlib.contextmanager
def naming_disk_faults(place: str | os.PathLike[str]) -> Generator[None]:
    """Turns what a library raises for a full disk into an `OSError` with a file name.

    Args:
        place: File or folder that is written to.

    Raises:
        OSError: The disk is full, or `place` may not be written to.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        fault = disk_fault(error)
        if fault is None or fault.filename is not None:
            raise
        raise OSError(fault.errno, fault.strerror, os.fspath(place)) from error


def describe_fault(fault: OSError) -> str:
    """Describes an error of the operating system in one line, with what helps.

    Args:
        fault: The error, with the name of the file if it is known.
    """
    text = fault.strerror or str(fault)
    if not isinstance(fault.filename, str):
        return text
    line, path = f"{fault.filename}: {text}", pathlib.Path(fault.filename).absolute()
    if fault.errno in (errno.EEXIST, errno.ENOTDIR):
        files = [p for p in (path, *path.parents) if p.is_file()]
        line = f"{files[0]}: is a file, not a folder" if files else line
    if fault.errno == errno.ENOSPC:
        folder = next(p for p in (path, *path.parents) if p.exists())
        line += f" ({size_text(shutil.disk_usage(folder).free)} are not enough)"
    return line + _elsewhere(path)


def _elsewhere(path: pathlib.Path) -> str:
    """Says how a file of the caches gets another place."""
    tokens, caches = token_root(), cache_dir("any").parent.absolute()
    if isinstance(tokens, pathlib.Path) and path.is_relative_to(tokens.absolute()):
        return f"; {TOKENS_VARIABLE} names another place for tokens"
    # A folder around the caches may be the one that cannot be made.
    if path.is_relative_to(caches) or caches.is_relative_to(path):
        return f"; {CACHE_VARIABLE} names another folder for all caches"
    return ""
