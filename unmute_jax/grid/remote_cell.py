"""Runs a cell on a node of a cluster and streams what it writes to the driver.

The node needs nothing of the driver's disk: the task brings what is finished of the
cell, and every file that changes is sent, except for checkpoints. So if the node is
lost, the cell goes on elsewhere after its last finished trial.
"""

from __future__ import annotations

import functools
import os
import pathlib
import platform
import queue
import tempfile
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from unmute_jax.distributed.compiled import keep_compiled_programs
from unmute_jax.distributed.ray_cluster import Needs, node_here
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.folder import STATUS
from unmute_jax.grid.run_cell import Opener, Outcome, run_cell
from unmute_jax.io import write_atomically

# Seconds between two looks for files that have changed.
SEND_EVERY = 5.0
# Folders that a cell can go on without.
_NOT_SENT = ("checkpoints",)
_NOT_NEEDED = (*_NOT_SENT, "predictions", "probes", "plots")


@dataclass(frozen=True, eq=False)
class RemoteCell:
    """A cell for a node.

    Attributes:
        cell: The cell.
        files: What is finished of it, by the name in its folder.
        needs: The resources of the task.
    """

    cell: Cell
    files: Mapping[str, bytes]
    needs: Needs


@dataclass(frozen=True)
class News:
    """What a node reports of its cell.

    Attributes:
        node: Ray's identifier of the node.
        host: Name of the node's host.
        phase: The phase that the cell has entered since the last news, if any.
        files: The files that have changed, in the order in which they were written.
        outcome: How the cell has ended; None while it runs.
    """

    node: str
    host: str
    phase: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    outcome: Outcome | None = None


def run_remote_cell(task: RemoteCell) -> Generator[News]:
    """Runs a cell in a folder of its own and yields the news about it."""
    task.needs.keep_to()
    keep_compiled_programs()
    inbox = queue.SimpleQueue[str | Outcome | BaseException]()
    news = functools.partial(News, node_here(), platform.node())
    yield news()

    def run() -> None:
        try:
            ended = run_cell(task.cell, folder, _opener(), inbox.put, lambda line: None)
        except BaseException as error:
            ended = error
        inbox.put(ended)

    with tempfile.TemporaryDirectory(prefix="unmute_jax_cell_") as name:
        folder = pathlib.Path(name, task.cell.folder)
        for file, content in task.files.items():
            write_atomically(folder / file, content)
        changes = Changes(folder)
        threading.Thread(target=run, daemon=True).start()
        while True:
            try:
                message = inbox.get(timeout=SEND_EVERY)
            except queue.Empty:
                message = ""
            if isinstance(message, BaseException):
                raise message
            files = changes.take()
            if isinstance(message, Outcome):
                yield news(files=files, outcome=message)
                return
            if message or files:
                yield news(phase=message, files=files)


def finished_files(folder: pathlib.Path) -> dict[str, bytes]:
    """Reads what another node needs in order to go on with a cell.

    Args:
        folder: The folder of the cell on the driver's disk.
    """
    return {
        name: (folder / name).read_bytes()
        for _, name in _files_in(folder, _NOT_NEEDED)
        if name != STATUS
    }


class Changes:
    """The files of a folder that have changed since the last look."""

    def __init__(self, folder: pathlib.Path):
        """Looks for the first time.

        Args:
            folder: The folder, which need not exist.
        """
        self._folder = folder
        self._seen = {name: time for time, name in _files_in(folder, _NOT_SENT)}

    def take(self) -> dict[str, bytes]:
        """Returns name and content of the changed files, the oldest first.

        So whenever this stops, the driver has what the folder had at some time.
        """
        changed = dict[str, bytes]()
        for time, name in _files_in(self._folder, _NOT_SENT):
            if self._seen.get(name) != time:
                changed[name] = (self._folder / name).read_bytes()
                self._seen[name] = time
        return changed


def _files_in(folder: pathlib.Path, left_out: tuple[str, ...]) -> list[tuple[int, str]]:
    """Returns time and name of each file that is complete, the oldest first.

    Looks again if files have changed meanwhile: without the earlier ones, a later one
    may say that more is finished than there is.
    """
    found = None
    while found != (again := _look(folder, left_out)):
        found = again
    return again


def _look(folder: pathlib.Path, left_out: tuple[str, ...]) -> list[tuple[int, str]]:
    found = list[tuple[int, str]]()
    for place, folders, names in os.walk(folder):
        if place == str(folder):
            # Not even listed, since they lose files meanwhile.
            folders[:] = [name for name in folders if name not in left_out]
        # Files that are still being written, and locks, begin with a dot.
        for path in (pathlib.Path(place, n) for n in names if not n.startswith(".")):
            name = path.relative_to(folder).as_posix()
            found.append((path.stat().st_mtime_ns, name))
    return sorted(found)


@functools.cache
def _opener() -> Opener:
    """The opener of this process, which may run several cells."""
    return Opener()
