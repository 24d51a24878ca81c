"""Writing files so that a stop leaves the old one or the new, never a half."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Generator
from typing import BinaryIO

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: pathlib.Path) -> Generator[None]:
    """Only one process at a time is inside; others wait, and say so.

    Args:
        path: A file for this alone; it is gone when nobody is inside.
    """
    import fcntl  # There is none on Windows, where all else works.

    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(path.open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning("waiting for another process, which holds %s", path)
                fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever was inside has taken the file away.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        stack.callback(path.unlink)
        yield


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) beside `path`, then renames it to that."""
    with writing(path) as out:
        out.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Generator[BinaryIO]:
    """A file beside `path` that becomes `path` when it is complete."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
