"""The folders of cells, and local copies of those in a bucket.

A grid on a disk is written to directly. If the grid is in a bucket, each host works on
a local copy of the cell: it first fetches what other hosts have done, and sends what it
writes within a minute, except for checkpoints. So if a host is lost, another one
continues the cell after its last finished trial; the same host continues it at its last
checkpoint.
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
# Files that are large, change all the time and can be dispensed with.
_NOT_SENT = "checkpoints"


@contextlib.contextmanager
def open_folder(root: PathOrUrl, cell: str) -> Generator[pathlib.Path]:
    """Opens the folder of a cell, to read and write its files.

    Args:
        root: Folder or URL of the grid.
        cell: Name of the cell's folder.
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
    """Returns the number of JSON files of a cell.

    Args:
        root: Folder or URL of the grid.
        cell: Name of the cell's folder.
        room: The folder in it, "trials" or "results".
    """
    place = subfolder(subfolder(root, "cells"), cell)
    if isinstance(place, pathlib.Path):
        return sum(1 for _ in (place / room).glob("*.json"))
    return sum(name.endswith(".json") for name in list_files(place, f"{room}/"))


class Copy:
    """A local folder with the files of a folder in a bucket."""

    def __init__(self, here: pathlib.Path, there: PathOrUrl):
        self.here, self.there = here, there
        self._sent: dict[str, int] = {}

    def fetch(self) -> None:
        """Makes all local files equal to those in the bucket."""
        for name in list_files(self.there):
            path, data = self.here / name, read_file(self.there, name)
            if data is not None and (not path.exists() or path.read_bytes() != data):
                write_atomically(path, data)
        self._sent = dict(self._changed())

    def send(self) -> None:
        """Sends changed files in the order in which they were written.

        So whenever this stops, the bucket has what the local folder had at some time.
        """
        for name, time in self._changed():
            write_file(self.there, name, (self.here / name).read_bytes())
            self._sent[name] = time

    def _changed(self) -> Iterator[tuple[str, int]]:
        """Yields name and time of each file that has changed since it was sent."""
        found: list[tuple[int, str]] = []
        for path in self.here.rglob("*"):
            name = path.relative_to(self.here)
            # Files that are still being written begin with a dot.
            if _NOT_SENT in name.parts or path.name.startswith(".") or path.is_dir():
                continue
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime_ns, name.as_posix()))
        for time, name in sorted(found):
            if self._sent.get(name) != time:
                yield name, time


def _keep_sending(copy: Copy, stop: threading.Event) -> None:
    while not stop.wait(COPY_EVERY):
        # If the network is unavailable, the next attempt may succeed.
        with contextlib.suppress(InputError, OSError):
            copy.send()
