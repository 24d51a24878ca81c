"""Where the files of a cell are while it is worked on, and where they are kept.

On a disk both are the same. Of a grid in a bucket each host has a copy of the cell it
works on: what others have done of it is fetched first, and what is written here goes
there within a minute, but for checkpoints. So a cell of a host that died goes on
elsewhere behind its last finished trial, and here at its last checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
import threading
from collections.abc import Generator, Iterator

from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir, write_atomically
from unmute_jax.store.files import (
    PathOrUrl,
    list_files,
    read_file,
    subfolder,
    write_file,
)

# Seconds between two copies to the bucket.
COPY_EVERY = 30.0
# What is large, changes all the time, and can be done without.
_STAYS = "checkpoints"


@contextlib.contextmanager
def open_folder(root: PathOrUrl, cell: str) -> Generator[pathlib.Path]:
    """The folder of a cell, to be worked in.

    Args:
        root: Of the grid.
        cell: Its name.
    """
    place = subfolder(subfolder(root, "cells"), cell)
    if isinstance(place, pathlib.Path):
        yield place
        return
    grid = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    copy = Copy(cache_dir("cells") / grid / cell, place)
    copy.fetch()
    stop = threading.Event()
    thread = threading.Thread(target=_keep_sending, args=(copy, stop), daemon=True)
    thread.start()
    try:
        yield copy.here
    finally:
        stop.set()
        thread.join()
        copy.send()


def count_files(root: PathOrUrl, cell: str, room: str) -> int:
    """How many files there are of a cell in `room`, "trials" or "results"."""
    place = subfolder(subfolder(root, "cells"), cell)
    if isinstance(place, pathlib.Path):
        return sum(1 for _ in (place / room).glob("*.json"))
    return sum(name.endswith(".json") for name in list_files(place, f"{room}/"))


class Copy:
    """A folder here and one in a bucket, with the same files."""

    def __init__(self, here: pathlib.Path, there: PathOrUrl):
        self.here, self.there = here, there
        self._sent: dict[str, int] = {}

    def fetch(self) -> None:
        """Makes all files here as they are there."""
        for name in list_files(self.there):
            path, data = self.here / name, read_file(self.there, name)
            if data is not None and (not path.exists() or path.read_bytes() != data):
                write_atomically(path, data)
        self._sent = dict(self._changed())

    def send(self) -> None:
        """Copies what has changed, in the order in which it was written.

        So whenever this stops, what is there is what was here at some time.
        """
        for name, time in self._changed():
            write_file(self.there, name, (self.here / name).read_bytes())
            self._sent[name] = time

    def _changed(self) -> Iterator[tuple[str, int]]:
        """Name and time of each file that was not sent as it is."""
        found: list[tuple[int, str]] = []
        for path in self.here.rglob("*"):
            name = path.relative_to(self.here)
            # A file with a dot is still being written.
            if _STAYS in name.parts or path.name.startswith(".") or path.is_dir():
                continue
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, name.as_posix()))
        for time, name in sorted(found):
            if self._sent.get(name) != time:
                yield name, time


def _keep_sending(copy: Copy, stop: threading.Event) -> None:
    while not stop.wait(COPY_EVERY):
        # A net that is away for a moment: the next copy may succeed.
        with contextlib.suppress(InputError, OSError):
            copy.send()
