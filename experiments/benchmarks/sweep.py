"""Times a search of 50 trials beside a PyTorch loop over the trials.

python -m experiments.benchmarks.sweep --workdir /tmp/sweeps
python -m experiments.benchmarks.sweep --workdir /tmp/sweeps --probes=linear,mhca

Both sides train the same trials on as many random clips, without halving. They are
timed with few epochs, at two lengths, and the line through both is extended to all
epochs. The part that does not grow with the epochs (compiling, proposals, scoring,
records) stays constant.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import multiprocessing
import pathlib
import shutil
import statistics
import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.benchmarks import synthetic_store
from experiments.benchmarks.side_by_side import cores, has_torch, table
from unmute_jax import distributed
from unmute_jax.cli import program
from unmute_jax.config import Experiment, Sweep
from unmute_jax.errors import unknown_name
from unmute_jax.io import write_atomically
from unmute_jax.probes import make_probe
from unmute_jax.training import loop, losses
from unmute_jax.training.data import ProbeData, unpack
from unmute_jax.training.search.study import Study
from unmute_jax.training.step import Trial, init_state
from unmute_jax.training.workdir import Workdir

# The probe, the type of our tokens, and the probe in PyTorch.
ROWS = {
    "protobin": ("protobin", "float32", "protobin"),
    "protobin-bfloat16": ("protobin", "bfloat16", "protobin"),
    "mhca": ("mhca", "float32", "mhca"),
    "linear": ("linear", "float32", "linear"),
    "linear-of-means": ("linear", "float32", "linear_of_means"),
}
SIZE = (1600, 400, (64, 4, 768))
SMALL_SIZE = (40, 20, (4, 2, 24))

PROBES = flags.DEFINE_list("probes", ",".join(ROWS), "The rows of the table.")
LENGTHS = flags.DEFINE_list("lengths", "1,3", "The numbers of epochs of the two runs.")
EPOCHS = flags.DEFINE_integer(
    "epochs", 30, "The number of epochs to extend the line to."
)
TRIALS = flags.DEFINE_integer(
    "trials", 50, "The number of trials, half of them Sobol and half TPE."
)
REPEATS = flags.DEFINE_integer(
    "repeats", 1, "The number of runs of each length, of which the median counts."
)
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny sizes, to see that the program runs."
)
OUTPUT = flags.DEFINE_string(
    "output", None, "A JSON file for everything that is measured."
)


@dataclass(frozen=True)
class Line:
    """The seconds of a search: `fixed + epochs * per_epoch`."""

    fixed: float
    per_epoch: float

    @classmethod
    def through(cls, measured: dict[int, float]) -> Line:
        """The line through two lengths."""
        (a, first), (b, second) = sorted(measured.items())
        # Where compiling dominates, the longer run may be the quicker one.
        per_epoch = max(0.0, (second - first) / (b - a))
        return cls(second - b * per_epoch, per_epoch)

    def at(self, epochs: float) -> float:
        """The seconds with so many epochs per trial."""
        return self.fixed + epochs * self.per_epoch


def main(arguments: list[str]) -> None:
    """Measures row by row, and prints and saves each row at once."""
    del arguments
    for name in PROBES.value:
        if name not in ROWS:
            raise unknown_name("row", name, ROWS)
    folder = pathlib.Path(program.required(program.WORKDIR)).expanduser()
    lengths = [int(x) for x in LENGTHS.value]
    record: dict[str, Any] = {"cores": cores(), "lengths": lengths, "rows": []}
    pool = _torch_process()
    try:
        for name in PROBES.value:
            record["rows"].append(_row(name, folder, lengths, pool))
            print(_table(record["rows"]), flush=True)
            if OUTPUT.value:
                write_atomically(OUTPUT.value, json.dumps(record, indent=1) + "\n")
    finally:
        if pool:
            pool.shutdown()


def _torch_process() -> concurrent.futures.Executor | None:
    """A process for PyTorch, whose threads would compete with ours; None without it."""
    if not has_torch():
        return None
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(1, context)


def _row(
    name: str,
    folder: pathlib.Path,
    lengths: list[int],
    pool: concurrent.futures.Executor | None,
) -> dict[str, Any]:
    probe, dtype, theirs = ROWS[name]
    ours = Ours(probe, dtype, folder)
    size = SMALL_SIZE if SMALL.value else SIZE
    if pool:
        pool.submit(_theirs, theirs, ours.first, 1, size).result()
    measured: dict[str, dict[int, list[float]]] = {"ours": {}, "theirs": {}}
    for _ in range(REPEATS.value):
        for epochs in lengths:
            if pool:
                # One trial is enough, because trials run one after the other.
                spent = pool.submit(_theirs, theirs, ours.first, epochs, size).result()
                measured["theirs"].setdefault(epochs, []).append(spent)
            measured["ours"].setdefault(epochs, []).append(ours.search(epochs))
    lines = {
        who: Line.through({e: statistics.median(s) for e, s in found.items()})
        for who, found in measured.items()
        if found
    }
    row = {
        "row": name,
        "measured": measured,
        "lines": {who: dataclasses.asdict(line) for who, line in lines.items()},
        "ours": lines["ours"].at(EPOCHS.value),
    }
    if "theirs" in lines:
        row["theirs"] = TRIALS.value * lines["theirs"].at(EPOCHS.value)
    return row


def _theirs(probe: str, params: dict[str, np.ndarray], epochs: int, size: Any) -> float:
    """The seconds of one trial in PyTorch."""
    from experiments.benchmarks import torch_sweep

    n, held_out, (t, f, d) = size
    size = (n, held_out, t * f, d, synthetic_store.CLASSES)
    return torch_sweep.seconds(probe, size, params, [(1e-3, 1e-4)], epochs, 128)


class Ours:
    """The search of one probe as a run does it."""

    def __init__(self, probe: str, dtype: str, folder: pathlib.Path):
        n, held_out, grid = SMALL_SIZE if SMALL.value else SIZE
        stores = [
            synthetic_store.write_store(
                folder / f"{kind}-{dtype}-{clips}", clips, dtype, grid
            )
            for kind, clips in (("train", n), ("validation", held_out))
        ]
        self.name, self.folder = probe, folder / "searches"
        options = {"input": "mean"} if probe == "linear" else {}
        self.probe = make_probe(probe, num_classes=synthetic_store.CLASSES, **options)
        clips, validation = (ProbeData([s], self.probe.input_kind) for s in stores)
        self.task = loop.Task(
            name=probe,
            kind="multi-label",
            probe=self.probe,
            loss=losses.make_loss("asymmetric"),
            train=clips,
            validation=validation,
        )
        trial = Trial(learning_rate=0.0, weight_decay=0.0, seed=0)
        example = jax.tree.map(jax.numpy.asarray, unpack(clips.read(np.arange(1))))
        state = init_state(self.probe, example, (trial,), Experiment().optimizer)
        leaves = jax.tree.leaves_with_path(jax.device_get(state.params))
        self.first = {
            "/".join(k.key for k in path): np.asarray(x[0]) for path, x in leaves
        }

    def search(self, epochs: int) -> float:
        """Runs a whole search without halving and returns its seconds."""
        half = TRIALS.value // 2
        chosen = Sweep(sobol=TRIALS.value - half, tpe=half, halvings=0)
        settings = Experiment(search="sweep", epochs=epochs, sweep=chosen)
        shutil.rmtree(self.folder, ignore_errors=True)
        study = Study(
            key={
                "experiment": settings.digest(),
                "dataset": "synthetic",
                "encoder": "noise",
                "probe": self.name,
                "protocol": "all",
                "seed": 0,
            },
            task=self.task,
            settings=settings,
            mesh=distributed.make_mesh(1),
            workdir=Workdir(self.folder, settings),
        )
        started = time.perf_counter()
        study.run()
        return time.perf_counter() - started


def _table(rows: list[dict[str, Any]]) -> str:
    def cells(row: dict[str, Any]) -> list[str]:
        theirs = row.get("theirs")
        return [
            row["row"],
            "" if theirs is None else f"{theirs:,.0f}",
            f"{row['ours']:,.0f}",
            f"{row['lines']['ours']['fixed']:.1f}",
            "" if theirs is None else f"{theirs / row['ours']:.1f}",
        ]

    header = [
        f"{TRIALS.value} trials of {EPOCHS.value} epochs",
        "PyTorch s",
        "ours s",
        "of which fixed",
        "times as fast",
    ]
    return table(header, map(cells, rows))


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
