"""Programs of ours that are killed and started again, until they come to their end."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE, TOKENS_VARIABLE

# Seconds between two looks at the processes.
LOOK_EVERY = 0.01


class Killable:
    """A program in a process of its own, with caches of its own.

    Attributes:
        begun_at: When it had said what it says when it begins; None before.
        dies_at: When it is to be killed.
    """

    def __init__(
        self,
        program: str,
        arguments: Iterable[str],
        cache: pathlib.Path,
        *,
        begins: bytes = b"",
    ):
        """Starts it.

        Args:
            program: Its name in `experiments`.
            arguments: Its command line.
            cache: The folder of its caches.
            begins: What it says when it comes to what is to be disturbed; by default
                that is all of it.
        """
        self.begun_at: float | None = None
        self.dies_at = float("inf")
        self._program, self._begins = program, begins
        self._said = tempfile.TemporaryFile()
        cache.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{program}", *arguments],
            env={
                **os.environ,
                CACHE_VARIABLE: str(cache),
                TOKENS_VARIABLE: "",
                "PYTHONUNBUFFERED": "1",  # So that what it says is known at once.
            },
            stdout=self._said,
            stderr=subprocess.STDOUT,
        )

    def has_begun(self) -> bool:
        """Whether it has come to what is to be disturbed."""
        return self._begins in self._output()

    def is_over(self) -> bool:
        """Whether it has come to its end.

        Raises:
            InputError: That end was an error; the message has all that it said.
        """
        if code := self._process.poll():
            said = self._output().decode(errors="replace")
            raise InputError(f"{self._program} ended with {code}: {said}")
        return code is not None

    def kill(self) -> None:
        """Ends it as a power cut would; it is not to be asked anything from then on."""
        self._process.kill()
        self._process.wait()
        self._said.close()

    def _output(self) -> bytes:
        # The process writes where the file's position is, which this does not move.
        file = self._said.fileno()
        return os.pread(file, os.fstat(file).st_size, 0)


def run(
    start: Callable[[], Killable],
    count: int = 1,
    lives: Iterable[float] = (),
    killed: Callable[[], None] = lambda: None,
) -> tuple[int, float]:
    """Runs processes side by side to their ends, through kills.

    Args:
        start: Starts one of them; and again, in place of one that was killed.
        count: How many there are at a time.
        lives: Seconds that processes live once they have begun; those that find no
            more of them here come to their end.
        killed: Called after each kill, before another process is started.

    Returns:
        How many were killed, and the seconds from the first beginning to the end.

    Raises:
        InputError: One of them ended in an error, or none ever began.
    """
    left, kills, begun = iter(lives), 0, None
    processes = [start() for _ in range(count)]
    try:
        # All are asked, so that no error is missed.
        while not all([process.is_over() for process in processes]):
            time.sleep(LOOK_EVERY)
            now = time.monotonic()
            for i, process in enumerate(processes):
                if process.begun_at is None and process.has_begun():
                    process.begun_at, begun = now, begun or now
                    process.dies_at = now + next(left, float("inf"))
                if now > process.dies_at and not process.is_over():
                    process.kill()
                    kills += 1
                    killed()
                    processes[i] = start()
    finally:
        for process in processes:
            process.kill()
    if begun is None:
        raise InputError("none of the processes ever began what was to be disturbed")
    return kills, time.monotonic() - begun


def share(calm: pathlib.Path, cache: pathlib.Path, rooms: Iterable[str]) -> None:
    """Makes a new cache that has some rooms of another, which are not in question."""
    cache.mkdir(parents=True)
    for room in rooms:
        (cache / room).symlink_to(calm / room)
