"""Locks between processes, which say who holds them.

The operating system releases a lock when its process ends, in whatever way, so there
are no stale ones. Where a file system knows no such locks, filelock uses the existence
of a file instead, and compares the host and the process that are in it.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import math
import os
import pathlib
import platform
from collections.abc import Generator

from unmute_jax.errors import InputError, one_line
from unmute_jax.io import naming_disk_faults, write_atomically

# Seconds in which a process that holds a lock says so, or one that was killed ends.
_MOMENT = 1.0
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(
    path: pathlib.Path, doing: str, *, patience: float = math.inf
) -> Generator[None]:
    """Lets one process at a time enter; the others log whom they wait for.

    Args:
        path: Lock file, which may remain.
        doing: What the process does inside, for messages ("preparing esc50").
        patience: Seconds to wait for another process, at least a moment.

    Raises:
        InputError: Another process holds the lock for longer.
        OSError: The lock file cannot be written.
    """
    import filelock

    holder = path.with_name(f"{path.name}.holder")
    with naming_disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        try:
            lock.acquire(timeout=_MOMENT)
        except filelock.Timeout:
            other = f"another process is {doing}{_described(holder)}"
            if patience > _MOMENT:
                _log.warning("%s: waiting for it", other)
            try:
                lock.acquire(timeout=-1 if patience == math.inf else patience)
            except filelock.Timeout:
                raise InputError(f"{other}: wait until it ends, or stop it") from None
    try:
        write_atomically(holder, json.dumps(_self()))
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def is_locked(path: pathlib.Path) -> bool:
    """Whether a process holds a lock.

    Args:
        path: Lock file.
    """
    import filelock

    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except (filelock.Timeout, OSError):
        return True


def _self() -> dict[str, str | int]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"host": platform.node(), "process": os.getpid(), "since": now}


def _described(holder: pathlib.Path) -> str:
    """Says who holds a lock; nothing where that cannot be read."""
    try:
        about = json.loads(holder.read_text(encoding="utf-8"))
        since = datetime.datetime.fromisoformat(about["since"]).astimezone()
        today = datetime.datetime.now().date()
        time = f"{since:%H:%M}" if since.date() == today else f"{since:%Y-%m-%d %H:%M}"
        host = one_line(str(about["host"]), 100)
        return f" (since {time}, process {int(about['process'])} on {host})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
