"""Runs the cells of a grid as tasks on the nodes of a Ray cluster.

This process, the driver, decides which cell comes next, and alone writes into the
folder of the grid. A cell whose process or node is lost is started again with what it
had finished; a cell that fails by its own fault is not.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from unmute_jax.distributed import signals
from unmute_jax.distributed.ray_cluster import Needs, slots
from unmute_jax.distributed.ray_tasks import Event, RunningTasks
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.folder import GridFolder
from unmute_jax.grid.live import shown
from unmute_jax.grid.remote_cell import (
    News,
    RemoteCell,
    finished_files,
    run_remote_cell,
)
from unmute_jax.grid.run_cell import Log
from unmute_jax.io import write_atomically

# Seconds between two looks for signals, and for nodes that have joined.
LOOK_EVERY = 1.0


def work(
    cells: Sequence[Cell],
    grid: GridFolder,
    ray: Any,
    needs: Needs,
    *,
    max_retries: int,
    log: Log = print,
) -> list[str]:
    """Runs all cells that are not done.

    Args:
        cells: The cells, those that share tokens next to each other.
        grid: The folder of the grid.
        ray: The module, connected to a cluster.
        needs: The resources of one cell.
        max_retries: How many times a cell is started again after its process or node
            was lost.
        log: A function that is called with lines for the user.

    Returns:
        The names of the cells that failed.
    """
    with grid.driven(cells) as known, shown(cells, grid, log) as tell:
        left = [cell for cell in cells if known[cell.folder].state != "done"]
        driver = _Driver(left, grid, ray, needs, max_retries, tell)
        return driver.work()


class _Driver:
    def __init__(
        self,
        cells: list[Cell],
        grid: GridFolder,
        ray: Any,
        needs: Needs,
        max_retries: int,
        log: Log,
    ):
        self._waiting = cells
        self._grid, self._ray, self._needs = grid, ray, needs
        self._max_retries, self._log = max_retries, log
        self._running = RunningTasks(ray, run_remote_cell, needs)
        # The cells whose outcome is known, whose tasks may still be running.
        self._ended = set[str]()
        # The node of each cell that was started: where it was sent, then where it is.
        self._nodes: dict[str, str] = {}
        # The cells of which a node has reported.
        self._begun = set[str]()
        # The node that had the tokens of a pair first.
        self._homes: dict[tuple[str, str], str] = {}
        self._losses: collections.Counter[str] = collections.Counter()
        # Tasks without work, for which a cluster that can grow starts nodes.
        self._nothing = ray.remote(max_retries=0, **needs.options())(_do_nothing)
        self._calls_for_nodes: list[Any] = []
        self._started, self._failed = set[tuple[str, str]](), list[str]()

    def work(self) -> list[str]:
        try:
            # Ray would hide which signal has interrupted it.
            with signals.deferred() as received:
                while self._waiting or self._running:
                    self._step()
                    if signum := received():
                        raise signals.Stopped(signum)
        finally:
            self._running.cancel()
            for call in self._calls_for_nodes:
                self._ray.cancel(call, force=True)
        return self._failed

    def _step(self) -> None:
        """Starts the cells for which there is room, and handles one event."""
        room = slots(self._ray, self._needs)
        count = sum(room.values())
        while self._waiting and len(self._running) < count:
            self._start(room)
        self._call_for_nodes(count)
        if event := self._running.next_event(LOOK_EVERY):
            self._handle(event)

    def _call_for_nodes(self, count: int) -> None:
        """Lets some tasks wait, so that a cluster that can grow doubles its nodes.

        Cells themselves do not wait in the cluster, as it is not known yet which node
        suits them. A task without work ends as soon as there is room for it.
        """
        calls = self._calls_for_nodes
        if calls:
            _, calls = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        for _ in range(min(len(self._waiting), max(1, count)) - len(calls)):
            calls.append(self._nothing.remote())
        self._calls_for_nodes = calls

    def _start(self, room: Mapping[str, int]) -> None:
        """Starts the cell that comes next, near its tokens if there is room."""
        busy = collections.Counter(self._nodes.values())
        free = {node for node, count in room.items() if busy[node] < count}
        cell = next_cell(self._waiting, self._homes, free, self._started)
        self._waiting.remove(cell)
        home = self._homes.get(cell.pair, "")
        node = home if home in free else ""
        self._nodes[cell.folder] = node
        self._started.add(cell.pair)
        files = finished_files(self._grid.of(cell))
        self._running.start(RemoteCell(cell, files, self._needs), node)

    def _handle(self, event: Event[RemoteCell]) -> None:
        cell = event.task.cell
        if event.kind == "item":
            self._take(cell, event.value)
            return
        if event.kind == "warning":
            self._log(f"{cell.name}: {event.reason}")
            return
        node, has_begun = self._nodes.pop(cell.folder), cell.folder in self._begun
        self._begun.discard(cell.folder)
        # What becomes of a process after the outcome makes no difference.
        if event.kind == "end" or cell.folder in self._ended:
            return
        if event.kind == "failed":
            self._fail(cell, event.reason, str(event.error))
            return
        # Its tokens may be lost with it. If not, the next cell brings it back here.
        self._homes = {pair: n for pair, n in self._homes.items() if n != node}
        self._losses[cell.folder] += 1
        if self._losses[cell.folder] > self._max_retries:
            times = self._losses[cell.folder]
            self._fail(cell, f"its process was lost {times} times: {event.reason}")
            return
        self._log(f"{cell.name} is started again: {event.reason}")
        if has_begun:
            self._grid.end(cell, "open")
        self._waiting.insert(0, cell)

    def _take(self, cell: Cell, news: News) -> None:
        """Writes what a cell has sent."""
        if cell.folder not in self._begun:
            self._begun.add(cell.folder)
            self._nodes[cell.folder] = news.node
            self._homes.setdefault(cell.pair, news.node)
            self._grid.begin(cell, news.host)
            self._log(f"{cell.name}: on {news.host}")
        for name, content in news.files.items():
            write_atomically(self._grid.of(cell) / name, content)
        if news.phase:
            self._grid.enter(cell, news.phase)
        if news.outcome is None:
            return
        self._ended.add(cell.folder)
        if news.outcome.state == "failed":
            self._fail(cell, news.outcome.message, news.outcome.details)
        else:
            self._grid.end(cell, "done")
            self._log(f"{cell.name}: done")

    def _fail(self, cell: Cell, message: str, details: str = "") -> None:
        self._grid.end(cell, "failed", message, details)
        self._log(f"{cell.name} failed: {message}")
        self._failed.append(cell.name)


def _do_nothing() -> None:
    pass


def next_cell(
    waiting: Sequence[Cell],
    homes: Mapping[tuple[str, str], str],
    free: set[str],
    started: set[tuple[str, str]],
) -> Cell:
    """Returns the cell that is started next.

    Cells whose tokens are on a node with room come first, then cells whose tokens no
    node has begun, so that nodes without a common cache compute different tokens.

    Args:
        waiting: The cells that may be started, those that share tokens next to each
            other.
        homes: The node that has the tokens of an encoder and a data set.
        free: The nodes that have room for a cell.
        started: The encoders and data sets of which a cell was started.
    """

    def rank(cell: Cell) -> int:
        if homes.get(cell.pair) in free:
            return 0
        return 2 if cell.pair in started else 1

    return min(waiting, key=rank)
