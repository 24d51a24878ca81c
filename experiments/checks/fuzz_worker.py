"""Runs the readers of `fuzz` in a process of its own, with limits of time and memory.

One process reads many inputs. It is replaced when it ends or takes too long, so that a
crash and an endless loop are seen and the next input is tried.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import resource
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

# A function that reads the case in a folder: what it was, and whether it may be read
# with other values. It returns the outcome in words; every exception is a failure.
Check = Callable[[pathlib.Path, str, bool], str]
# A function that imports and computes what all inputs need.
Prepare = Callable[[], None]
FAILED = "failed"
_START_SECONDS = 300.0


class Answer(NamedTuple):
    """What happened with one input.

    Attributes:
        outcome: The outcome in words.
        reason: What is wrong, if it is a failure.
        seconds: How long it took.
        megabytes: The memory that it took beyond that of the process.
    """

    outcome: str
    reason: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0


class Worker:
    """A process that reads inputs, and is replaced when it ends or takes too long."""

    def __init__(
        self,
        check: Check,
        seconds: float,
        megabytes: int,
        prepare: Prepare | None = None,
    ):
        """Starts no process before the first input.

        Args:
            check: The function that reads an input.
            seconds: The time limit for one input.
            megabytes: The memory that one input may take beyond that of the program.
            prepare: What a process does before the first input, if anything.
        """
        self._arguments, self._seconds = (check, megabytes, prepare), seconds
        self._process: Any = None

    def run(self, folder: pathlib.Path, kind: str, may_differ: bool = False) -> Answer:
        """Reads an input."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_work, args=(theirs, *self._arguments), daemon=True
            )
            self._process.start()
            theirs.close()
            if not self._connection.poll(_START_SECONDS):
                self.stop()
                return Answer(FAILED, "the process that reads does not start")
            self._connection.recv()  # It is ready.
        begin = time.monotonic()
        self._connection.send((folder, kind, may_differ))
        try:
            if self._connection.poll(self._seconds):
                answer = self._connection.recv()
                return answer._replace(seconds=time.monotonic() - begin)
            self.stop()
            reason = f"takes longer than {self._seconds:g} s"
            return Answer(FAILED, reason, self._seconds)
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._process = None
            return Answer(FAILED, f"ends the process with code {code}")

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _work(
    connection: Connection, check: Check, megabytes: int, prepare: Prepare | None
) -> None:
    """Reads the inputs whose folders arrive, in a process of its own."""
    if prepare is not None:
        prepare()
    # What a decoder prints must not reach the terminal: it is a failure.
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        size = _status("VmSize") + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        connection.send("ready")
        while True:
            try:
                folder, kind, may_differ = connection.recv()
            except EOFError:
                return
            before = _peak_from_now_on()
            try:
                outcome, reason = check(folder, kind, may_differ), ""
            except (Exception, SystemExit) as error:
                place = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"{type(error).__name__}: {error}"[:1000]
                outcome = FAILED
                if not isinstance(error, AssertionError):
                    name = pathlib.Path(place.filename).name
                    reason = f"{reason} ({name}, line {place.lineno})"
            if os.fstat(printed.fileno()).st_size:
                printed.seek(0)
                outcome, reason = FAILED, f"prints {printed.read(500)!r}"
                printed.seek(0)
                printed.truncate()
            taken = (_status("VmHWM") - before) / 1e6
            connection.send(Answer(outcome, reason, megabytes=taken))


def _peak_from_now_on() -> int:
    """Starts the measurement of the peak memory again, and returns the present one."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _status("VmRSS")


def _status(field: str) -> int:
    """A memory field of this process in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])
