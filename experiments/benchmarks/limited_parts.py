"""Runs commands one after the other, each with a limit of time and a log."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from unmute_jax.errors import one_line

DONE, FAILED, LATE = "done", "failed", "out of time"


@dataclasses.dataclass(frozen=True)
class Part:
    """A command that is run in a process of its own.

    Attributes:
        name: The name of the part, of its log and of its files.
        seconds: The longest time that it may take.
        command: The arguments of Python.
        output: The file or folder that the command leaves, also if it fails.
        read: Returns what is in the output, as JSON values.
        environment: Variables of its environment.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    output: pathlib.Path
    read: Callable[[pathlib.Path], dict[str, Any]]
    environment: dict[str, str]


def run_part(
    part: Part, folder: pathlib.Path, *, patience: float = 1.0, grace: float = 15.0
) -> dict[str, Any]:
    """Runs a part, shows and keeps its output, and returns what became of it.

    Args:
        part: The part.
        folder: The folder of its log.
        patience: A factor of its limit, after which it is asked to stop.
        grace: The seconds that it then has to write what it found.

    Returns:
        JSON values: "outcome" (`DONE`, `FAILED` or `LATE`), the exit code, the seconds
        that it took, and what it found.
    """
    if part.output.is_file():
        part.output.unlink()  # An earlier try has left it.
    start, late = time.monotonic(), threading.Event()
    with subprocess.Popen(
        [sys.executable, *part.command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **part.environment},
        # So that the processes that it starts can be stopped as well.
        start_new_session=True,
    ) as process:

        def stop() -> None:
            late.set()
            _signal(process, signal.SIGINT)

        def kill() -> None:
            _signal(process, signal.SIGKILL)

        limit = patience * part.seconds
        timers = [threading.Timer(limit, stop), threading.Timer(limit + grace, kill)]
        try:
            for timer in timers:
                timer.start()
            assert process.stdout is not None
            with open(folder / f"{part.name}.log", "w") as log:
                for line in process.stdout:
                    log.write(line)
                    print(line, end="", flush=True)
            code = process.wait()
        finally:
            for timer in timers:
                timer.cancel()
            kill()
    outcome = LATE if late.is_set() else FAILED if code else DONE
    try:
        found = part.read(part.output)
    except (OSError, ValueError, SyntaxError) as error:
        # The command has not come to write it, or not all of it.
        found = {"error": one_line(str(error))}
        outcome = FAILED if outcome == DONE else outcome
    seconds = round(time.monotonic() - start, 1)
    return {"outcome": outcome, "exit": code, "seconds": seconds, "found": found}


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Sends a signal to a command and to all processes that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
