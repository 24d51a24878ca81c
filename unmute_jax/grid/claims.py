"""Claims on the cells of a grid: one small file per cell, on a disk or in a bucket.

Every write to such a file is conditional: it succeeds only if the file is still the one
that was read. On a disk tensorstore ensures this with a lock of the file system (on NFS
if it supports locks), in a bucket the server does (`ifGenerationMatch`). So exactly one
of the processes that claim a cell gets it, also where they take over an abandoned one.

The owner of a claim writes a heartbeat into the file at regular intervals. A claim is
abandoned if its file has not changed for `expiry` seconds by the clock of the process
that reads it: clocks of different hosts are never compared. If both processes share a
folder for temporary files, a lock that ends with the owner tells at once.

An owner that was suspended for longer finds at its next heartbeat that its claim is
lost, and leaves the cell at its next evaluation. Until then two processes may work on
the cell; they write the same bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import pathlib
import socket
import tempfile
import threading
import time
import uuid
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from unmute_jax.errors import InputError
from unmute_jax.io import disk_fault
from unmute_jax.results.typed_json import DamagedFile, as_dataclass, parse_object
from unmute_jax.store.files import PathOrUrl, open_kvstore, subfolder

# Heartbeats within the time after which a claim expires.
BEATS = 5
# The generation that tensorstore returns for a conditional write that failed.
_REFUSED = b""


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """The contents of the file of a cell.

    Attributes:
        state: "open", "running", "done" or "failed".
        owner: Identifier of the process that works on the cell, or worked on it last.
        host: Name of the owner's host, for people.
        phase: What the owner is doing: "opening", "tokens" or "training".
        beat: Number of heartbeats.
        tokens: Seconds that all owners have spent on tokens.
        training: Seconds that all owners have spent on training.
        message: Why the cell failed, in one line.
        details: The traceback of the failure.
        since: When the state began, by the clock of the owner, for people.
    """

    state: str = "open"
    owner: str = ""
    host: str = ""
    phase: str = ""
    beat: int = 0
    tokens: float = 0.0
    training: float = 0.0
    message: str = ""
    details: str = ""
    since: str = ""


class ClaimLost(Exception):
    """Another process has taken over the cell, as this one was silent for too long."""


class Claims:
    """The claims on the cells of a grid, from the view of one process."""

    def __init__(self, root: PathOrUrl, *, expiry: float = 300.0):
        """Opens the claims of a grid.

        Args:
            root: Folder of the grid, or a URL such as "gs://bucket/folder".
            expiry: Seconds without a heartbeat after which a claim is abandoned.
        """
        self.root, self.expiry = root, expiry
        self._files = open_kvstore(subfolder(root, "claims"))
        self._lock = ProcessLock()
        self._seen: dict[str, tuple[bytes, float]] = {}

    def look(self, cells: Iterable[str]) -> dict[str, CellStatus]:
        """Returns the status of each cell, by the name of its folder."""
        reads = {cell: self._files.read(f"{cell}.json") for cell in cells}
        return {cell: self._status(cell, read)[0] for cell, read in reads.items()}

    def claim(self, cell: str) -> Claim | None:
        """Claims a cell; returns None if it is done or another process works on it."""
        found, generation = self._status(cell, self._files.read(f"{cell}.json"))
        taken = found.state == "running" and not self._is_abandoned(cell, found)
        if taken or found.state == "done":
            return None
        ours = dataclasses.replace(
            found,
            state="running",
            owner=self._lock.name,
            host=socket.gethostname(),
            phase="opening",
            beat=found.beat + 1,
            message="",
            details="",
            since=_now(),
        )
        generation = self.write(cell, ours, generation)
        if generation is None:
            return None
        if found.state == "running":
            ProcessLock.remove(found.owner)
        return Claim(self, cell, ours, generation)

    def write(self, cell: str, status: CellStatus, generation: bytes) -> bytes | None:
        """Replaces the file of a cell if it still has the given generation.

        Args:
            cell: Name of the cell's folder.
            status: The new contents.
            generation: The generation of the file when it was read.

        Returns:
            The new generation, or None if another process has written the file.
        """
        text = json.dumps(dataclasses.asdict(status), indent=1) + "\n"
        name, data = f"{cell}.json", text.encode()
        written = self._done(self._files.write(name, data, if_equal=generation))
        if written.generation != _REFUSED:
            return written.generation
        # A server may have written the file and then refused a repeated request.
        found = self._done(self._files.read(name))
        return found.stamp.generation if found.value == data else None

    def _done(self, future: Any) -> Any:
        """Waits for a read or write; an error becomes one line for the user."""
        try:
            return future.result()
        except ValueError as error:
            fault = disk_fault(error)
            why = fault.strerror if fault else str(error).splitlines()[0][:300]
            raise InputError(f"{self.root}: {why}") from error

    def _status(self, cell: str, read: Any) -> tuple[CellStatus, bytes]:
        """Returns what was read and its generation; notes when that has changed."""
        found = self._done(read)
        generation = found.stamp.generation
        if self._seen.get(cell, (b"", 0.0))[0] != generation:
            self._seen[cell] = generation, time.monotonic()
        if found.state != "value":
            return CellStatus(), generation
        path = f"claims/{cell}.json"
        try:
            values = parse_object(found.value, f"{path}: not a claim")
            return as_dataclass(CellStatus, values, path), generation
        except DamagedFile as error:
            raise InputError(
                f"{error}: delete it; the finished trials of the cell are kept"
            ) from None

    def _is_abandoned(self, cell: str, entry: CellStatus) -> bool:
        _, since = self._seen[cell]
        silent = time.monotonic() - since >= self.expiry
        return silent or not ProcessLock.may_be_held(entry.owner)


class Claim:
    """The claim on a cell, a context manager that sends heartbeats meanwhile.

    Attributes:
        is_lost: Whether another process has taken over the cell.
    """

    def __init__(self, claims: Claims, cell: str, entry: CellStatus, generation: bytes):
        self.is_lost = False
        self._claims, self._cell = claims, cell
        self._entry, self._generation = entry, generation
        self._before = {"tokens": entry.tokens, "training": entry.training}
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Makes the cell open again, unless it was ended."""
        if not self._stop.is_set():
            self.end("open")

    def check(self) -> None:
        """Raises `ClaimLost` if the claim is lost."""
        if self.is_lost:
            raise ClaimLost

    def enter(self, phase: str) -> None:
        """Begins a phase, "tokens" or "training", whose seconds are counted."""
        with self._lock:
            self._spend()
            self._entry = dataclasses.replace(self._entry, phase=phase)

    def end(self, state: str, message: str = "", details: str = "") -> None:
        """Ends the claim, unless it is lost.

        Args:
            state: The new state of the cell: "done", "failed" or "open".
            message: Why the cell failed, in one line.
            details: The traceback of the failure.
        """
        with self._lock:
            self._stop.set()
            self._spend()
            self._renew(
                state=state, phase="", message=message, details=details, since=_now()
            )
        if self._thread.is_alive():
            self._thread.join()

    def _beat(self) -> None:
        interval = self._claims.expiry / BEATS
        while not self._stop.wait(interval):
            with self._lock:
                if self._stop.is_set():
                    return
                self._spend()
                # If the disk or network is unavailable, the next one may succeed.
                with contextlib.suppress(InputError):
                    self._renew()
                if self.is_lost:
                    return

    def _spend(self) -> None:
        """Adds the time since the last call to the seconds of the phase."""
        now = time.monotonic()
        spent, self._started = now - self._started, now
        phase = self._entry.phase if self._entry.phase == "tokens" else "training"
        total = {phase: getattr(self._entry, phase) + spent}
        self._entry = dataclasses.replace(self._entry, **total)

    def _renew(self, **changes: str) -> None:
        if self.is_lost:
            return
        beat = self._entry.beat + 1
        self._entry = dataclasses.replace(self._entry, beat=beat, **changes)
        generation = self._claims.write(self._cell, self._entry, self._generation)
        self.is_lost = generation is None
        self._generation = generation or self._generation


class ProcessLock:
    """A lock in the folder for temporary files, held until this process ends."""

    def __init__(self):
        self.name = uuid.uuid4().hex[:16]
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # Missing on Windows, where claims only expire.

            _lock_folder().mkdir(mode=0o777, exist_ok=True)
            path = _lock_folder() / self.name
            file = path.open("w")
            weakref.finalize(self, _end, path, file)
            fcntl.flock(file, fcntl.LOCK_EX)

    @staticmethod
    def may_be_held(name: str) -> bool:
        """Whether the process may be alive; False if it has certainly ended."""
        try:
            import fcntl

            with (_lock_folder() / name).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (ImportError, OSError):
            return True  # It holds its lock, or runs elsewhere.
        return False

    @staticmethod
    def remove(name: str) -> None:
        """Removes the lock of a process that has ended."""
        with contextlib.suppress(OSError):
            if not ProcessLock.may_be_held(name):
                (_lock_folder() / name).unlink()


def _end(path: pathlib.Path, file: IO[str]) -> None:
    path.unlink(missing_ok=True)
    file.close()


def _lock_folder() -> pathlib.Path:
    return pathlib.Path(tempfile.gettempdir()) / "unmute_jax_lives"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
