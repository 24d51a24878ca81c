"""Runs programs that are killed at given moments and started again."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from absl import flags

from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE, TOKENS_VARIABLE

# Seconds between two looks at the processes.
POLL_INTERVAL = 0.01

KILLS = flags.DEFINE_integer("kills", 10, "The number of kills.", lower_bound=1)
RANDOM_SEED = flags.DEFINE_integer(
    "random_seed", 0, "The seed of all random choices of the check."
)


class Killable:
    """A program that runs in a process and caches of its own.

    Attributes:
        began_at: When the part to be disturbed began; None before.
        kill_at: When the process will be killed.
    """

    def __init__(
        self,
        program: str,
        arguments: Iterable[str],
        cache: pathlib.Path,
        *,
        start_marker: bytes = b"",
    ):
        """Starts the program.

        Args:
            program: Name of the program in `experiments`.
            arguments: Arguments of its command line.
            cache: Folder of its caches.
            start_marker: Output of the program that shows that the part to be disturbed
                has begun; by default the whole program is disturbed.
        """
        self.began_at: float | None = None
        self.kill_at = float("inf")
        self._program, self._start_marker = program, start_marker
        self._output_file = tempfile.TemporaryFile()
        cache.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"experiments.{program}", *arguments],
            env={
                **os.environ,
                CACHE_VARIABLE: str(cache),
                TOKENS_VARIABLE: "",
                "PYTHONUNBUFFERED": "1",  # The output is needed at once.
            },
            stdout=self._output_file,
            stderr=subprocess.STDOUT,
        )

    def has_begun(self) -> bool:
        """Whether the part to be disturbed has begun."""
        return self._start_marker in self._output()

    def is_over(self) -> bool:
        """Whether the program has ended.

        Raises:
            InputError: If it ended with an error; the message holds its output.
        """
        if code := self._process.poll():
            output = self._output().decode(errors="replace")
            raise InputError(f"{self._program} ended with {code}: {output}")
        return code is not None

    def kill(self) -> None:
        """Ends the process as a power cut would. No other method may follow."""
        self._process.kill()
        self._process.wait()
        self._output_file.close()

    def _output(self) -> bytes:
        # The process writes at the position of the file, which this does not move.
        file = self._output_file.fileno()
        return os.pread(file, os.fstat(file).st_size, 0)


def run(
    start: Callable[[], Killable],
    count: int = 1,
    lifetimes: Iterable[float] = (),
    killed: Callable[[], None] = lambda: None,
) -> tuple[int, float]:
    """Runs processes side by side until all have ended, restarting those it kills.

    Args:
        start: Function that starts a process; also called after each kill.
        count: Number of processes at a time.
        lifetimes: Seconds after which processes are killed, counted from the beginning
            of the part to be disturbed. When they are used up, no process is killed.
        killed: Function that is called after each kill, before the process is replaced.

    Returns:
        The number of kills, and the seconds from the first beginning to the end.

    Raises:
        InputError: If a process ended with an error, or none ever began.
    """
    left, kills, began = iter(lifetimes), 0, None
    processes = [start() for _ in range(count)]
    try:
        # A list, so that every process is asked and no error is missed.
        while not all([process.is_over() for process in processes]):
            time.sleep(POLL_INTERVAL)
            now = time.monotonic()
            for i, process in enumerate(processes):
                if process.began_at is None and process.has_begun():
                    process.began_at, began = now, began or now
                    process.kill_at = now + next(left, float("inf"))
                if now > process.kill_at and not process.is_over():
                    process.kill()
                    kills += 1
                    killed()
                    processes[i] = start()
    finally:
        for process in processes:
            process.kill()
    if began is None:
        raise InputError("no process ever began the part that was to be disturbed")
    return kills, time.monotonic() - began


def share_caches(
    source: pathlib.Path, target: pathlib.Path, folders: Iterable[str]
) -> None:
    """Creates a cache that links to some folders of another one."""
    target.mkdir(parents=True)
    for folder in folders:
        (target / folder).symlink_to(source / folder)
