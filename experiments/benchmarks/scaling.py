"""Shows how training scales with devices and processes, counted and measured.

python -m experiments.benchmarks.scaling --output scaling.json
python -m experiments.benchmarks.scaling --probes=mhca --layouts=1x1,4x1 --streamed

A layout is DEVICESxPROCESSES, with the number of devices per process. All devices are
virtual and share the cores of this machine. Every layout does the same work, a step of
a stack of trials. "trials" splits the trials over the devices, as searches do, and
"batch" splits the clips of each batch, as final runs do. `linear` averages the tokens
in every step here, so that it only reads memory.

The counted columns are per step and device: millions of multiply-adds, MB of tokens
that the device reads, MB of state that it reads and writes, and MB that it contributes
to sums over all devices in the compiled program. The measured columns are ms per step
(medians of epochs in which the layouts take turns) and the ratio to the first layout
(the median of the ratios within a turn). More devices than cores cannot be faster: a
ratio above 1 is the cost of dividing the work. Where every device is a chip, the
counted columns tell. After an epoch, outside the measurement, the logits of validation
clips are gathered.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import socket
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
from absl import flags

from experiments.benchmarks import synthetic_store
from experiments.benchmarks.scaling_process import Work, serve
from experiments.benchmarks.side_by_side import cores, table
from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.io import write_atomically
from unmute_jax.probes import list_probes, make_probe

MODES = ("trials", "batch")
# The tokens of a clip as (T, F, D), and the number of batches per epoch.
SIZE = ((32, 4, 768), 4)
SMALL_SIZE = ((4, 2, 24), 2)

PROBES = flags.DEFINE_list(
    "probes", "protobin,mhca,linear", "The probes, which must read tokens."
)
LAYOUTS = flags.DEFINE_list(
    "layouts", "1x1,2x1,4x1,8x1,2x2,1x4", "The layouts to measure."
)
TRIALS = flags.DEFINE_integer(
    "trials", 8, "The number of trials on all devices together.", lower_bound=1
)
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    32,
    "The number of clips per batch on all devices together.",
    lower_bound=1,
)
STREAMED = flags.DEFINE_bool(
    "streamed",
    False,
    "Read batches from the store. By default all clips are on all devices.",
)
REPEATS = flags.DEFINE_integer(
    "repeats", 5, "The number of epochs that are measured.", lower_bound=1
)
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny sizes, to see that the program runs."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A JSON file for everything that is measured."
)

Row = dict[str, Any]


class Layout(NamedTuple):
    """Devices per process, and processes."""

    devices: int
    processes: int

    def __str__(self) -> str:
        return f"{self.devices}x{self.processes}"


def main(arguments: list[str]) -> None:
    """Measures each probe in both modes, and prints and saves each result at once."""
    program.only_options(arguments)
    known = [name for name in list_probes() if _reads_tokens(name)]
    for name in PROBES.value:
        if name not in known:
            raise unknown_name("probe that reads tokens", name, known)
    layouts = [_layout(text) for text in LAYOUTS.value]
    os.environ["JAX_PLATFORMS"] = "cpu"  # The processes inherit the variable.
    grid, batches = SMALL_SIZE if SMALL.value else SIZE
    clips = batches * BATCH_SIZE.value
    record: Row = {
        "cores": cores(),
        "jax": jax.__version__,
        "clips": clips,
        "grid": grid,
        "trials": TRIALS.value,
        "batch_size": BATCH_SIZE.value,
        "streamed": STREAMED.value,
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        store = pathlib.Path(folder) / "tokens"
        synthetic_store.write_store(store, clips, "bfloat16", grid)
        work = Work(
            store=str(store),
            trials=TRIALS.value,
            batch_size=BATCH_SIZE.value,
            streamed=STREAMED.value,
        )
        pods = [stack.enter_context(Pod(layout, work)) for layout in layouts]
        for rows in _measured(pods):
            record["rows"] += rows
            printed = _table(rows, layouts[0])
            is_first = len(record["rows"]) == len(rows)
            print(printed if is_first else printed.split("\n", 2)[2], flush=True)
            if OUTPUT.value:
                write_atomically(OUTPUT.value, json.dumps(record, indent=1) + "\n")


def _reads_tokens(probe: str) -> bool:
    return probe == "linear" or make_probe(probe, num_classes=2).input_kind == "tokens"


def _layout(text: str) -> Layout:
    """Parses a layout such as 2x1.

    Raises:
        InputError: The text is not a layout, or the work cannot be divided evenly.
    """
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise InputError(f"--layouts: {text!r} is not DEVICESxPROCESSES, such as 2x1")
    layout = Layout(int(found[1]), int(found[2]))
    for flag in (TRIALS, BATCH_SIZE):
        if flag.value % (layout.devices * layout.processes):
            raise InputError(
                f"--{flag.name}={flag.value}: must be a multiple of the devices of "
                f"every layout, also of {text}"
            )
    return layout


class Pod:
    """Controls the processes of a layout."""

    def __init__(self, layout: Layout, work: Work):
        self.layout, count = layout, layout.processes
        context, port = multiprocessing.get_context("spawn"), _free_port()
        self._pipes, self._processes = [], []
        for index in range(count):
            mine, theirs = context.Pipe()
            # A single process does not wait for others.
            spec = f"localhost:{port},{count},{index}"
            process = context.Process(
                target=serve, args=(theirs, work, spec, layout.devices), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def ask(self, order: tuple[str, str] | None) -> list[Any]:
        """Sends a request of `scaling_process.serve` and returns every answer.

        Raises:
            RuntimeError: A process failed. Its own message is on the error stream.
        """
        try:
            for pipe in self._pipes:
                pipe.send(order)
            return [pipe.recv() for pipe in self._pipes]
        except (EOFError, OSError) as error:
            raise RuntimeError(f"layout {self.layout} failed, see above") from error

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def _measured(pods: Sequence[Pod]) -> Iterator[list[Row]]:
    """Yields the rows of all layouts for each probe and mode."""
    orders = [(name, mode) for name in PROBES.value for mode in MODES]
    calls = len(orders) * len(pods) * (REPEATS.value + 2)
    with progress("scaling", calls, unit="calls") as advance:
        for order in orders:
            rows: list[Row] = []
            for pod in pods:
                about = {"probe": order[0], "mode": order[1], **pod.layout._asdict()}
                rows.append({**about, **pod.ask(order)[0], "seconds": []})
                advance(1)
            for turn in range(-1, REPEATS.value):
                for pod, row in zip(pods, rows, strict=True):
                    # Processes that exchange nothing end at different times.
                    slowest = max(pod.ask(None))
                    if turn >= 0:
                        row["seconds"].append(slowest)
                    advance(1)
            first = rows[0]["seconds"]
            for row in rows:
                pairs = zip(row["seconds"], first, strict=True)
                row["ratio"] = statistics.median(a / b for a, b in pairs)
            yield rows


def _table(rows: Sequence[Row], first: Layout) -> str:
    def cells(row: Row) -> list[str]:
        count, k, b = row["devices"] * row["processes"], TRIALS.value, BATCH_SIZE.value
        share = (
            f"{k // count} x {b}" if row["mode"] == "trials" else f"{k} x {b // count}"
        )
        sizes = ("multiply_adds", "token_bytes", "state_bytes", "moved_bytes")
        return [
            row["probe"],
            row["mode"],
            f"{row['devices']}x{row['processes']}",
            share,
            *(f"{row[size] / 1e6:,.2f}" for size in sizes),
            f"{1e3 * statistics.median(row['seconds']):,.1f}",
            f"{row['ratio']:.2f}",
        ]

    header = [
        "probe",
        "split",
        "devices x processes",
        "trials x clips each",
        "M multiply-adds each",
        "tokens MB each",
        "state MB each",
        "summed MB",
        "ms per step",
        f"time / {first}",
    ]
    return table(header, map(cells, rows))


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
