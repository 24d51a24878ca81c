"""Who works on which cell: one small file per cell, on a disk or in a bucket.

Every change of such a file is conditional: it happens only if the file is still the one
that was read. On a disk tensorstore sees to that with a lock of the file system (on NFS
where that supports locks), in a bucket the server does (`ifGenerationMatch`). So of any
number of processes that claim a cell, exactly one gets it, and of those that take an
abandoned one over as well.

The owner of a claim writes a new beat into it from time to time. A claim is abandoned
when its file has not changed for `expiry` seconds *by the clock of the one who looks*:
no clock is ever compared with that of another host. Where owner and looker share a
folder for temporary files, a lock that dies with the owner tells at once.

An owner that was suspended for longer than that finds its claim gone at its next beat
and leaves the cell when it next evaluates; until then two may work on it. They write
the same bytes.
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
from unmute_jax.store.files import PathOrUrl, open_kvstore, subfolder

# Beats before a claim expires.
BEATS = 5
# What tensorstore says where a conditional write was not done.
_REFUSED = b""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the file of a cell says.

    Attributes:
        state: "open", "running", "done" or "failed".
        owner: The process that works or worked on it; `host` is for people.
        phase: What it does there.
        beat: Counts up while it runs.
        tokens: Seconds that went into tokens, of all owners; `training` likewise.
        message: Why it failed, in one line; `details` for those who look into it.
        since: When the state began, by the clock of the owner; for people alone.
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
    """Another process has taken the cell over, since this one was silent too long."""


class Claims:
    """The claims on the cells of a grid, as one process sees and makes them."""

    def __init__(self, root: PathOrUrl, *, expiry: float = 300.0):
        """Opens the claims below `root`; the process lives from now on.

        Args:
            root: Of the grid: a folder, or a URL such as "gs://bucket/folder".
            expiry: Seconds without a beat after which a claim is abandoned.
        """
        self.root, self.expiry = root, expiry
        self._files = open_kvstore(subfolder(root, "claims"))
        self._life = Life()
        self._seen: dict[str, tuple[bytes, float]] = {}

    def look(self, cells: Iterable[str]) -> dict[str, Entry]:
        """What is known of each cell."""
        input_kind = {cell: self._files.read(f"{cell}.json") for cell in cells}
        return {cell: self._noted(cell, read)[0] for cell, read in input_kind.items()}

    def claim(self, cell: str) -> Claim | None:
        """Makes a cell ours; None where it is done or somebody works on it."""
        found, generation = self._noted(cell, self._files.read(f"{cell}.json"))
        taken = found.state == "running" and not self._is_abandoned(cell, found)
        if taken or found.state == "done":
            return None
        ours = dataclasses.replace(
            found,
            state="running",
            owner=self._life.name,
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
            Life.bury(found.owner)
        return Claim(self, cell, ours, generation)

    def write(self, cell: str, entry: Entry, generation: bytes) -> bytes | None:
        """Replaces an entry that has this generation; None where it has not.

        Returns:
            The new generation.
        """
        text = json.dumps(dataclasses.asdict(entry), indent=1) + "\n"
        name, data = f"{cell}.json", text.encode()
        written = self._done(self._files.write(name, data, if_equal=generation))
        if written.generation != _REFUSED:
            return written.generation
        # A server may have done it, and refused when it was asked again.
        found = self._done(self._files.read(name))
        return found.stamp.generation if found.value == data else None

    def _done(self, future: Any) -> Any:
        """The result of a read or write, or one line for a person."""
        try:
            return future.result()
        except ValueError as error:
            why = str(error).splitlines()[0][:300]
            raise InputError(f"{self.root}: {why}") from error

    def _noted(self, cell: str, read: Any) -> tuple[Entry, bytes]:
        """What was read, and its generation; remembers since when it is the same."""
        found = self._done(read)
        generation = found.stamp.generation
        if self._seen.get(cell, (b"", 0.0))[0] != generation:
            self._seen[cell] = generation, time.monotonic()
        if found.state != "value":
            return Entry(), generation
        try:
            return Entry(**json.loads(found.value)), generation
        except (ValueError, TypeError) as error:
            raise InputError(
                f"claims/{cell}.json is damaged ({error}): delete it, what is done of "
                "the cell is kept"
            ) from error

    def _is_abandoned(self, cell: str, entry: Entry) -> bool:
        _, since = self._seen[cell]
        silent = time.monotonic() - since >= self.expiry
        return silent or not Life.may_last(entry.owner)


class Claim:
    """A cell that is ours. Use as a context manager: the beats are sent meanwhile.

    Attributes:
        is_lost: Somebody else has taken it over.
    """

    def __init__(self, claims: Claims, cell: str, entry: Entry, generation: bytes):
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
        """Opens the cell again, unless it came to an end."""
        if not self._stop.is_set():
            self.end("open")

    def check(self) -> None:
        """Raises `ClaimLost` where it was lost."""
        if self.is_lost:
            raise ClaimLost

    def enter(self, phase: str) -> None:
        """What begins now: "tokens" or "training"; its seconds are counted there."""
        with self._lock:
            self._spend()
            self._entry = dataclasses.replace(self._entry, phase=phase)

    def end(self, state: str, message: str = "", details: str = "") -> None:
        """Writes how it ended: "done", "failed" or "open". Nothing if it was lost."""
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
                # A disk or a net that is away for a moment: the next beat may succeed.
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


class Life:
    """A lock in the folder for temporary files that ends with this process."""

    def __init__(self):
        self.name = uuid.uuid4().hex[:16]
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # There is none on Windows, where claims only expire.

            _lives().mkdir(mode=0o777, exist_ok=True)
            path = _lives() / self.name
            file = path.open("w")
            weakref.finalize(self, _end, path, file)
            fcntl.flock(file, fcntl.LOCK_EX)

    @staticmethod
    def may_last(name: str) -> bool:
        """Whether a process may be alive; no only where it is known to have ended."""
        try:
            import fcntl

            with (_lives() / name).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (ImportError, OSError):
            return True  # It holds its lock, or lives elsewhere.
        return False

    @staticmethod
    def bury(name: str) -> None:
        """Takes the lock of a dead process away."""
        with contextlib.suppress(OSError):
            if not Life.may_last(name):
                (_lives() / name).unlink()


def _end(path: pathlib.Path, file: IO[str]) -> None:
    path.unlink(missing_ok=True)
    file.close()


def _lives() -> pathlib.Path:
    return pathlib.Path(tempfile.gettempdir()) / "unmute_jax_lives"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
