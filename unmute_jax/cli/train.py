"""Trains probes on the tokens of a frozen encoder and reports their scores.

unmute train --config quickstart
unmute train --config bpp_esc50 --config.seeds=3

The encoder runs once over the data set. Its tokens are cached on disk and every later
run reads them from there. Several learning rates (ten from 1e-5 to 0.3, unless
config.optimizer.learning_rates names others) are trained side by side, the validation
split chooses one of them, the chosen one is trained with more seeds, and the test split
is scored once. The same command continues a run that was stopped.
"""

from __future__ import annotations

import pathlib

from absl import flags

from unmute_jax import distributed, results
from unmute_jax.cli import program
from unmute_jax.cli.processes import joined, writer_first
from unmute_jax.config import Experiment, default_config
from unmute_jax.console import print_table
from unmute_jax.training import plan
from unmute_jax.training.placeholders import preview
from unmute_jax.training.run import run_experiment
from unmute_jax.training.setup import prepare
from unmute_jax.training.workdir import Workdir, alone_in

DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Print what the run would do and how long it would take, then stop.",
)
EXPLAIN = flags.DEFINE_bool(
    "explain",
    False,
    "Print which field of the key differs where cached tokens cannot be used; with "
    "--dry_run also what says that the others are up to date.",
)


def main(settings: Experiment) -> None:
    """Trains the probes of an experiment and prints the table of their scores."""
    folder = program.WORKDIR.value or settings.default_workdir()
    if DRY_RUN.value:
        _print_plan(settings, folder)
        return
    setup = writer_first(lambda: prepare(settings))
    with alone_in(folder):
        workdir = Workdir(folder, settings)
        records = run_experiment(setup, workdir, explain=EXPLAIN.value)
        if distributed.is_writer():
            show(records, workdir, settings.probe_names)


def _print_plan(settings: Experiment, folder: str) -> None:
    """Prints what the run would do, as far as that is known without any download."""
    setup, missing = preview(settings)
    if setup is not None:
        print(plan.describe(setup, folder, explain=EXPLAIN.value, missing=missing))
        return
    print(f"data      {settings.dataset}: its clips can be counted once they are here")
    for problem in missing:
        print(f"missing   {problem}")


def show(
    records: list[results.Record], workdir: Workdir, names: tuple[str, ...]
) -> None:
    """Prints the table of a run, and draws its plots where they are not up to date."""
    curves = workdir.plots / "training_curves.png"
    bars = workdir.plots / "per_class_ap.png"
    if not _are_current([curves, bars], workdir):
        from unmute_jax.results import plots  # Matplotlib takes a while to import.

        plots.training_curves(curves, workdir.metrics, records, names)
        plots.per_class_scores(bars, records, names)
    print_table(results.table(records, names))
    print(f"all files of this run are in {workdir.path}/")


def _are_current(plots: list[pathlib.Path], workdir: Workdir) -> bool:
    """Whether all plots are there, and newer than the metrics and records they show."""
    shown = [*workdir.path.glob("metrics.jsonl"), *workdir.results.glob("*.json")]
    newest = max(path.stat().st_mtime_ns for path in shown)
    return all(p.exists() and p.stat().st_mtime_ns >= newest for p in plots)


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_config()) as arguments:
        program.only_options(arguments)
        with joined():
            main(program.experiment())
