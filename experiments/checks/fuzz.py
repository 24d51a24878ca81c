"""Tries damaged files of one kind: each must be read, or refused with one clear line.

python -m experiments.checks.fuzz --kind audio --count 3000 --seed 1 --output failures

The files are tried in a process of their own with limits of time and memory, so that a
crash or an endless loop is seen. The program prints a table of what happened after each
mutation, writes the files that failed to --output, and exits with code 1 if there are
any.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import os
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from absl import flags

from experiments.checks import fuzz_audio
from unmute_jax.cli import program

KIND = flags.DEFINE_enum("kind", "audio", ["audio"], "The kind of files.")
COUNT = flags.DEFINE_integer("count", 3000, "The number of files.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "The seed of all choices.")
SECONDS = flags.DEFINE_float("seconds", 20.0, "The time limit for one file in seconds.")
MEGABYTES = flags.DEFINE_integer(
    "megabytes", 2000, "The memory that one file may take beyond that of the program."
)
OUTPUT = flags.DEFINE_string("output", None, "A folder for the files that failed.")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of files that can be tried.

    Attributes:
        make: Makes a damaged file: its kind, the mutation and the content.
        check: Reads a file of a kind and returns the outcome in words; every exception
            is a failure.
    """

    make: Callable[[np.random.Generator], tuple[str, str, bytes]]
    check: Callable[[pathlib.Path, str], str]


KINDS = {"audio": Kind(make=fuzz_audio.make, check=fuzz_audio.check)}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What happened with one file.

    Attributes:
        index: The number of the file, which makes it again together with the seed.
        kind: What the file was before it was damaged.
        mutation: How it was damaged.
        outcome: The outcome in words; "failed" if it is a failure.
        seconds: How long it took.
        megabytes: The memory that it took beyond that of the program.
        reason: What is wrong.
    """

    index: int
    kind: str
    mutation: str
    outcome: str
    seconds: float
    megabytes: float = 0.0
    reason: str = ""


class Worker:
    """A process that reads files, and is replaced when it ends or takes too long."""

    def __init__(
        self, check: Callable[[pathlib.Path, str], str], seconds: float, megabytes: int
    ):
        """Starts no process before the first file.

        Args:
            check: The function of a `Kind`.
            seconds: The time limit for one file.
            megabytes: The memory limit for one file.
        """
        self._arguments, self._seconds = (check, megabytes), seconds
        self._process: Any = None

    def run(self, path: pathlib.Path, kind: str) -> tuple[str, float, str]:
        """Reads a file: the outcome, the memory in megabytes, and what is wrong."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(
                target=_work, args=(theirs, *self._arguments), daemon=True
            )
            self._process.start()
            theirs.close()
            self._connection.recv()  # It is ready.
        self._connection.send((path, kind))
        try:
            if self._connection.poll(self._seconds):
                return self._connection.recv()
            self.stop()
            return "failed", 0.0, f"takes longer than {self._seconds:g} s"
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._process = None
            return "failed", 0.0, f"ends the process with code {code}"

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


def _work(
    connection: Connection, check: Callable[[pathlib.Path, str], str], megabytes: int
) -> None:
    """Reads the files whose paths arrive, in a process of its own."""
    # What a decoder prints must not reach the terminal: it is a failure.
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        size = _status("VmSize") + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        connection.send("ready")
        while True:
            try:
                path, name = connection.recv()
            except EOFError:
                return
            before = _peak_from_now_on()
            try:
                outcome, reason = check(path, name), ""
            except Exception as error:
                outcome, reason = "failed", f"{type(error).__name__}: {error}"
            if os.fstat(printed.fileno()).st_size:
                printed.seek(0)
                outcome, reason = "failed", f"prints {printed.read(500)!r}"
                printed.seek(0)
                printed.truncate()
            connection.send((outcome, (_status("VmHWM") - before) / 1e6, reason))


def _peak_from_now_on() -> int:
    """Starts the measurement of the peak memory again, and returns the present one."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", "ascii")
    return _status("VmRSS")


def _status(field: str) -> int:
    """A memory field of this process in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text("ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def try_files(
    kind: str,
    *,
    count: int,
    seed: int,
    seconds: float,
    megabytes: int,
    output: pathlib.Path | None = None,
) -> list[Trial]:
    """Tries damaged files.

    Args:
        kind: The kind of files.
        count: The number of files.
        seed: The seed of all choices.
        seconds: The time limit for one file.
        megabytes: The memory limit for one file.
        output: A folder for the files that failed.
    """
    worker = Worker(KINDS[kind].check, seconds, megabytes)
    trials = list[Trial]()
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            name, mutation, data = KINDS[kind].make(rng)
            path.write_bytes(data)
            begin = time.monotonic()
            outcome, memory, reason = worker.run(path, name)
            trial = Trial(
                index=index,
                kind=name,
                mutation=mutation,
                outcome=outcome,
                seconds=time.monotonic() - begin,
                megabytes=memory,
                reason=reason,
            )
            trials.append(trial)
            if outcome == "failed":
                print(f"{index}: {name}, {mutation}: {reason}", file=sys.stderr)
                if output is not None:
                    output.mkdir(parents=True, exist_ok=True)
                    (output / f"{seed}_{index}").write_bytes(data)
                    record = json.dumps(vars(trial), indent=1)
                    (output / f"{seed}_{index}.json").write_text(record, "utf-8")
    worker.stop()
    return trials


def table(trials: list[Trial]) -> str:
    """Returns a Markdown table of the outcomes after each mutation."""
    counts = collections.Counter((t.mutation, t.outcome) for t in trials)
    outcomes = [*sorted({t.outcome for t in trials} - {"failed"}), "failed"]
    lines = [
        f"| mutation | files | {' | '.join(outcomes)} |",
        f"|---|{'---:|' * (len(outcomes) + 1)}",
    ]
    for mutation in sorted({t.mutation for t in trials}):
        cells = [counts[mutation, outcome] for outcome in outcomes]
        row = [mutation, str(sum(cells)), *map(str, cells)]
        lines.append(f"| {' | '.join(row)} |")
    totals = [sum(t.outcome == outcome for t in trials) for outcome in outcomes]
    lines.append(f"| all | {len(trials)} | {' | '.join(map(str, totals))} |")
    return "\n".join(lines)


def main(_: list[str]) -> None:
    """Tries the files, prints the table, and exits with code 1 if one fails."""
    trials = try_files(
        KIND.value,
        count=COUNT.value,
        seed=SEED.value,
        seconds=SECONDS.value,
        megabytes=MEGABYTES.value,
        output=None if OUTPUT.value is None else pathlib.Path(OUTPUT.value),
    )
    print(table(trials))
    slowest = max(trials, key=lambda trial: trial.seconds)
    largest = max(trials, key=lambda trial: trial.megabytes)
    print(
        f"\nThe slowest took {slowest.seconds:.2f} s ({slowest.kind}, "
        f"{slowest.mutation}); the largest took {largest.megabytes:.0f} MB "
        f"({largest.kind}, {largest.mutation})."
    )
    sys.exit(any(trial.outcome == "failed" for trial in trials))


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
