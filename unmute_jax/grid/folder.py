"""Keeps what is known of each cell in a small file in the folder of the cell.

One process at a time, the driver, runs the cells of a grid and writes into its folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import pathlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from unmute_jax.errors import InputError
from unmute_jax.grid.cells import Cell
from unmute_jax.io import write_atomically
from unmute_jax.locks import is_locked
from unmute_jax.results.typed_json import DamagedFile, as_dataclass, read_object
from unmute_jax.training.workdir import LOCK, alone_in

STATUS = "status.json"
# Where versions with claims had the status of a cell, and what else was in it.
_CLAIMS, _OF_CLAIMS = "claims", ("owner", "beat")


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """What is known of a cell.

    Attributes:
        state: "open", "running", "done" or "failed".
        host: Name of the host that works on the cell, or worked on it last.
        phase: What the host is doing: "opening", "tokens" or "training".
        tokens: Seconds spent on tokens, over all attempts.
        training: Seconds spent on everything else, over all attempts.
        message: Why the cell failed, in one line.
        details: The traceback of the failure.
        since: When the state or the phase began, by the clock of the driver.
    """

    state: str = "open"
    host: str = ""
    phase: str = ""
    tokens: float = 0.0
    training: float = 0.0
    message: str = ""
    details: str = ""
    since: str = ""


class GridFolder:
    """The folder of a grid.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: str):
        """Names the folder of a grid, which need not exist.

        Args:
            root: The folder.

        Raises:
            InputError: It is a URL.
        """
        if "://" in root:
            raise InputError(
                f"--workdir={root}: the folder of a grid is on a disk of the machine "
                "that runs the command; tokens may be in a bucket (UNMUTE_TOKENS)"
            )
        self.root = pathlib.Path(root).expanduser()
        # What the driver knows, and since when it counts the seconds of a cell.
        self._known: dict[str, CellStatus] = {}
        self._since: dict[str, float] = {}

    def of(self, cell: Cell) -> pathlib.Path:
        """Returns the folder of a cell."""
        return self.root / "cells" / cell.folder

    def count(self, cell: Cell, room: str) -> int:
        """Returns the number of JSON files of a cell in "trials" or "results"."""
        return sum(1 for _ in (self.of(cell) / room).glob("*.json"))

    def look(self, cells: Sequence[Cell]) -> dict[str, CellStatus]:
        """Returns the status of each cell, by the name of its folder.

        Cells whose driver was killed are open. The seconds of running ones are those
        until now.
        """
        known = self._known or {
            cell.folder: read_status(self.of(cell)) for cell in cells
        }
        is_driven = bool(self._known) or is_locked(self.root / LOCK)
        return {
            cell.folder: _now(known[cell.folder], is_driven=is_driven) for cell in cells
        }

    @contextlib.contextmanager
    def driven(self, cells: Sequence[Cell]) -> Generator[dict[str, CellStatus]]:
        """Makes this process the driver of the grid for the duration of a `with` block.

        Cells that are still running at its end become open.

        Args:
            cells: The cells to run.

        Yields:
            The status of each cell, which `begin`, `enter` and `end` change.

        Raises:
            InputError: Another process is the driver, or a file is damaged.
        """
        with alone_in(self.root):
            self._known = {cell.folder: read_status(self.of(cell)) for cell in cells}
            for cell in cells:
                # Left behind by a driver that was killed.
                if self._known[cell.folder].state == "running":
                    self._write(cell, state="open", phase="")
            try:
                yield self._known
            finally:
                for cell in cells:
                    if self._known[cell.folder].state == "running":
                        self.end(cell, "open")
                self._known = {}

    def begin(self, cell: Cell, host: str) -> None:
        """Notes that a host begins to work on a cell."""
        self._since[cell.folder] = time.monotonic()
        new = {"state": "running", "host": host, "phase": "opening"}
        self._write(cell, **new, message="", details="")

    def enter(self, cell: Cell, phase: str) -> None:
        """Notes that a running cell begins a phase: "tokens" or "training"."""
        self._write(cell, **self._spent(cell), phase=phase)

    def end(self, cell: Cell, state: str, message: str = "", details: str = "") -> None:
        """Notes that a cell is no longer running.

        Args:
            cell: The cell.
            state: Its new state: "done", "failed" or "open".
            message: Why it failed, in one line.
            details: The traceback of the failure.
        """
        new = {"state": state, "phase": "", "message": message, "details": details}
        self._write(cell, **self._spent(cell), **new)

    def _spent(self, cell: Cell) -> dict[str, float]:
        """Returns the seconds of a phase that ends now, added to those before."""
        now, status = time.monotonic(), self._known[cell.folder]
        seconds = now - self._since.get(cell.folder, now)
        self._since[cell.folder] = now
        kind = _kind(status)
        return {kind: getattr(status, kind) + seconds}

    def _write(self, cell: Cell, **changes: str | float) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        status = dataclasses.replace(
            self._known[cell.folder], **{"since": now, **changes}
        )
        self._known[cell.folder] = status
        text = json.dumps(dataclasses.asdict(status), indent=1)
        write_atomically(self.of(cell) / STATUS, text + "\n")


def read_status(cell: pathlib.Path) -> CellStatus:
    """Reads the status of a cell.

    Args:
        cell: The folder of the cell in the folder `cells` of its grid.

    Raises:
        InputError: The file is damaged.
    """
    path = cell / STATUS
    if not path.exists():
        path = cell.parent.parent / _CLAIMS / f"{cell.name}.json"
    try:
        values = read_object(path, "the status of a cell")
        values = {k: v for k, v in values.items() if k not in _OF_CLAIMS}
        return as_dataclass(CellStatus, values, str(path))
    except FileNotFoundError:
        return CellStatus()
    except DamagedFile as error:
        raise InputError(
            f"{error}: delete it; the finished trials of the cell are kept"
        ) from None


def _kind(status: CellStatus) -> str:
    """Returns the field in which the seconds of the current phase are counted."""
    return "tokens" if status.phase == "tokens" else "training"


def _now(status: CellStatus, *, is_driven: bool) -> CellStatus:
    """Returns the status of a cell as it is now, if it was running.

    Args:
        status: What its file says.
        is_driven: Whether the driver that wrote the file may be alive.
    """
    if status.state != "running":
        return status
    if not is_driven:
        return dataclasses.replace(status, state="open", phase="")
    kind = _kind(status)
    try:
        since = datetime.datetime.fromisoformat(status.since)
        spent = (datetime.datetime.now(datetime.UTC) - since).total_seconds()
    except (ValueError, TypeError):
        return status
    total = getattr(status, kind) + max(0.0, spent)
    return dataclasses.replace(status, **{kind: total})
