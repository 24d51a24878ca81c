"""Times programs side by side: each in a process of its own, one at a time.

The thread pools of two libraries in one process compete with each other, and only a
process of its own shows how much memory a program needs. The programs take turns, so
whatever slows the machine down for a while slows all of them down.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from unmute_jax.console import progress
from unmute_jax.io import write_atomically

MISSING_TORCH = "PyTorch is not installed: pip install -e '.[bench]' to compare with it"

# Called once in the new process. The function that it returns is timed.
Make = Callable[[], Callable[[], object]]


@dataclasses.dataclass(frozen=True)
class Contender:
    """A program to be timed.

    Attributes:
        name: The name in the table.
        group: The name that programs with the same task share.
        make: Prepares the program; a module's function or a `functools.partial` of it.
        clips: Number of clips per call.
    """

    name: str
    group: str
    make: Make
    clips: int


@dataclasses.dataclass(frozen=True)
class Timing:
    """What was measured of a contender.

    Attributes:
        name: The contender's name.
        group: The contender's group.
        clips: Number of clips per call.
        seconds: Seconds of each call.
        peak_bytes: Peak memory of the process during the calls, including libraries and
            weights; None where the system does not report it.
    """

    name: str
    group: str
    clips: int
    seconds: tuple[float, ...]
    peak_bytes: int | None

    @property
    def clips_per_second(self) -> float:
        """Clips per second in the median call."""
        return self.clips / statistics.median(self.seconds)


def has_torch() -> bool:
    """Whether PyTorch can be imported; prints a message if not."""
    try:
        importlib.import_module("torch")
    except ImportError:
        print(MISSING_TORCH)
        return False
    return True


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure(contenders: Sequence[Contender], repeats: int) -> list[Timing]:
    """Times all contenders in turns, `repeats` times after a warm-up.

    JAX runs on the CPU, as PyTorch does.

    Raises:
        RuntimeError: A contender failed. Its own message is on the error stream.
    """
    os.environ["JAX_PLATFORMS"] = "cpu"  # the processes inherit it
    workers: list[_Worker] = []
    try:
        with progress("warm-up", len(contenders), unit="programs") as advance:
            for contender in contenders:
                workers.append(_Worker(contender))
                workers[-1].answer()
                advance(1)
        seconds: list[list[float]] = [[] for _ in workers]
        calls = repeats * len(workers)
        with progress("timing", calls, unit="calls") as advance:
            for _ in range(repeats):
                for worker, times in zip(workers, seconds, strict=True):
                    times.append(worker.ask(_RUN))
                    advance(1)
        return [
            Timing(c.name, c.group, c.clips, tuple(times), worker.ask(_END))
            for c, worker, times in zip(contenders, workers, seconds, strict=True)
        ]
    finally:
        for worker in workers:
            worker.close()


def ratio(timing: Timing, name: str, timings: Iterable[Timing]) -> str:
    """The speed relative to `name` in the same group, or an empty text without it."""
    for other in timings:
        if (other.name, other.group) == (name, timing.group):
            return f"{timing.clips_per_second / other.clips_per_second:.2f}"
    return ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first two columns are text and the others numbers."""
    marks = ["---", "---", *["---:"] * (len(header) - 2)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, marks, *rows])


def mebibytes(size: int | None) -> str:
    """A number of bytes in MiB as a table shows it."""
    return "" if size is None else f"{size / 2**20:,.0f}"


def write(path: str, timings: Iterable[Timing], facts: dict[str, Any]) -> None:
    """Writes all timings, the machine and the versions as JSON."""
    content = {
        **facts,
        "cores": cores(),
        "machine": _processor(),
        "versions": _versions("jax", "jaxlib", "flax", "numpy", "torch"),
        "timings": [
            {**dataclasses.asdict(t), "clips_per_second": t.clips_per_second}
            for t in timings
        ],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


_RUN, _END = "run", "end"


class _Worker:
    """Controls the process of a contender."""

    def __init__(self, contender: Contender):
        context = multiprocessing.get_context("spawn")
        self._name = contender.name
        self._pipe, theirs = context.Pipe()
        arguments = (contender.make, theirs)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, what: str) -> Any:
        self._pipe.send(what)
        return self.answer()

    def answer(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError as error:
            raise RuntimeError(f"{self._name} failed, see above") from error

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


def _serve(make: Make, pipe: Connection) -> None:
    """Runs in the new process: prepares, warms up, then answers each request."""
    try:
        run = make()
        for _ in range(2):
            run()
        forget_peak()
        pipe.send(None)
        while pipe.recv() == _RUN:
            start = time.perf_counter()
            run()
            pipe.send(time.perf_counter() - start)
        pipe.send(peak_bytes())
    except (EOFError, KeyboardInterrupt):
        pass  # The controlling process has ended.


def forget_peak() -> None:
    """Resets the peak memory of this process, where Linux allows it."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def peak_bytes() -> int | None:
    """Peak memory of this process since `forget_peak`; None where it is unknown."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024


def _processor() -> str:
    """The processor's name where Linux reports it, and the machine type."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return ", ".join([*names[:1], platform.machine()])


def _versions(*packages: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
