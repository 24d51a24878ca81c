"""Times programs side by side: each in a process of its own, one at a time.

The thread pools of two libraries in one process compete with each other, and only a
process of its own shows how much memory a program needs. The programs take turns, so
whatever slows the machine down for a while slows all of them down. On an accelerator,
where it takes long to start a process and the threads hardly matter, programs may share
one.
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
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from unmute_jax.console import progress
from unmute_jax.errors import one_line
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
class Program:
    """A prepared program that says something of itself.

    Attributes:
        run: The function that is timed.
        facts: JSON values that are kept beside its timing.
    """

    run: Callable[[], object]
    facts: dict[str, Any]

    def __call__(self) -> object:
        """Runs the program once."""
        return self.run()


@dataclasses.dataclass(frozen=True)
class Timing:
    """What was measured of a contender.

    Attributes:
        name: The contender's name.
        group: The contender's group.
        clips: Number of clips per call.
        seconds: Seconds of each call.
        peak_bytes: Peak memory of the process during the calls, including libraries and
            weights; None where the system does not report it, and where several
            programs shared the process.
        facts: What the program says of itself.
    """

    name: str
    group: str
    clips: int
    seconds: tuple[float, ...]
    peak_bytes: int | None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def clips_per_second(self) -> float:
        """Clips per second in the median call."""
        return self.clips / statistics.median(self.seconds)

    def times_as_fast_as(self, other: Timing) -> float:
        """The median, over the turns, of the ratio of the speeds."""
        turns = zip(self.seconds, other.seconds, strict=True)
        ratio = statistics.median(theirs / ours for ours, theirs in turns)
        return ratio * self.clips / other.clips


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


def measure(
    contenders: Sequence[Contender], repeats: int, label: str = ""
) -> list[Timing]:
    """Times all contenders in turns, `repeats` times after a warm-up.

    JAX runs on the CPU, as PyTorch does. Each contender has a process of its own.

    Args:
        contenders: The programs, all of which are in memory at the same time.
        repeats: Number of timed calls of each program.
        label: What the progress is shown for.

    Raises:
        RuntimeError: A contender failed. Its own message is on the error stream.
    """
    workers: list[Worker] = []
    try:
        for _ in contenders:
            workers.append(Worker("cpu"))
        timings = take_turns(contenders, workers, repeats, label)
        peaks = [worker.peak_bytes() for worker in workers]
    finally:
        for worker in workers:
            worker.close()
    return [
        dataclasses.replace(timing, peak_bytes=peak)
        for timing, peak in zip(timings, peaks, strict=True)
    ]


def take_turns(
    contenders: Sequence[Contender],
    workers: Sequence[Worker],
    repeats: int,
    label: str = "",
) -> list[Timing]:
    """Times contenders in turns, each in its worker, and lets the workers forget them.

    Args:
        contenders: The programs.
        workers: The process of each program. Programs may share one.
        repeats: Number of timed calls of each program.
        label: What the progress is shown for.

    Raises:
        RuntimeError: A contender failed. Its own message is on the error stream.
    """
    pairs = list(zip(contenders, workers, strict=True))
    facts: list[dict[str, Any]] = []
    seconds: list[list[float]] = [[] for _ in pairs]
    with progress(f"{label} warm-up".strip(), len(pairs), unit="programs") as advance:
        for contender, worker in pairs:
            facts.append(worker.prepare(contender))
            advance(1)
    calls = repeats * len(pairs)
    with progress(f"{label} timing".strip(), calls, unit="calls") as advance:
        for _ in range(repeats):
            for (contender, worker), times in zip(pairs, seconds, strict=True):
                times.append(worker.time(contender))
                advance(1)
    for contender, worker in pairs:
        worker.forget(contender)
    return [
        Timing(c.name, c.group, c.clips, tuple(times), None, said)
        for (c, _), times, said in zip(pairs, seconds, facts, strict=True)
    ]


def ratio(timing: Timing, name: str, timings: Iterable[Timing]) -> str:
    """The speed relative to `name` in the same group, or an empty text without it."""
    for other in timings:
        if (other.name, other.group) == (name, timing.group):
            return f"{timing.times_as_fast_as(other):.2f}"
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
        "versions": _versions(
            "jax", "jaxlib", "flax", "numpy", "torch", "transformers"
        ),
        "timings": [
            {**dataclasses.asdict(t), "clips_per_second": t.clips_per_second}
            for t in timings
        ],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


_PREPARE, _TIME, _FORGET, _PEAK = "prepare", "time", "forget", "peak"


class Worker:
    """Controls a process that prepares programs and times them."""

    def __init__(self, platform: str):
        """Starts the process.

        Args:
            platform: What JAX runs on in the process, as in `JAX_PLATFORMS`.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, platform), daemon=True
        )
        self._process.start()
        theirs.close()

    def prepare(self, contender: Contender) -> dict[str, Any]:
        """Prepares a program, runs it twice, and returns what it says of itself."""
        return self._ask(contender, _PREPARE, contender.make)

    def time(self, contender: Contender) -> float:
        """The seconds of one call of a prepared program."""
        return self._ask(contender, _TIME, None)

    def forget(self, contender: Contender) -> None:
        """Lets go of the memory of a prepared program."""
        self._ask(contender, _FORGET, None)

    def peak_bytes(self) -> int | None:
        """Peak memory of the process since its last preparation of a program."""
        self._pipe.send((_PEAK, "", None))
        return self._pipe.recv()[0]

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()

    def _ask(self, contender: Contender, what: str, make: Make | None) -> Any:
        key = f"{contender.name}, {contender.group}"
        try:
            self._pipe.send((what, key, make))
            answer, failed = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"{key}: the process ended, see above") from error
        if failed:
            raise RuntimeError(f"{key} failed: {answer}")
        return answer


def _serve(pipe: Connection, platform: str) -> None:
    """Runs in the new process and answers each request with (answer, failed)."""
    os.environ["JAX_PLATFORMS"] = platform
    # JAX would take most of the memory of a GPU, and leave too little for PyTorch.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    programs: dict[str, Callable[[], object]] = {}
    try:
        while True:
            what, key, make = pipe.recv()
            try:
                pipe.send((_answer(programs, what, key, make), False))
            except Exception as error:
                # Another program of this process may still run.
                traceback.print_exc()
                programs.pop(key, None)
                pipe.send((one_line(f"{type(error).__name__}: {error}", 200), True))
    except (EOFError, KeyboardInterrupt):
        pass  # The controlling process has ended.


def _answer(
    programs: dict[str, Callable[[], object]], what: str, key: str, make: Make | None
) -> Any:
    if what == _PEAK:
        return peak_bytes()
    if what == _FORGET:
        del programs[key]
        return None
    if what == _TIME:
        start = time.perf_counter()
        programs[key]()
        return time.perf_counter() - start
    assert make is not None
    run = programs[key] = make()
    for _ in range(2):
        run()
    forget_peak()
    return run.facts if isinstance(run, Program) else {}


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
