"""Trains probes on the tokens of a frozen encoder, and reports how good they are.

python -m experiments.train --config configs/quickstart.py
python -m experiments.train --config configs/bpp_esc50.py --config.seeds=3

The encoder runs once over the data set; its tokens are kept and read again by every
later run. Several learning rates are trained side by side, the validation split
chooses, the chosen one is trained with more seeds, and the test split is scored once.
A run that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

from absl import flags
from rich.console import Console

from unmute_jax import distributed, results
from unmute_jax.cli import program
from unmute_jax.cli.processes import together, writer_first
from unmute_jax.config import Experiment
from unmute_jax.results import plots
from unmute_jax.training import plan
from unmute_jax.training.run import run_experiment
from unmute_jax.training.setup import prepare
from unmute_jax.training.workdir import Workdir

DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print what would be done and how long it takes; do nothing."
)
EXPLAIN = flags.DEFINE_bool(
    "explain", False, "Say which field differs where kept tokens cannot be used."
)


def main(settings: Experiment) -> None:
    """Prepares, runs, and shows the table."""
    folder = program.WORKDIR.value or settings.default_workdir()
    setup = writer_first(lambda: prepare(settings))
    if DRY_RUN.value:
        print(plan.describe(setup, folder))
        return
    workdir = Workdir(folder, settings)
    records = run_experiment(setup, workdir, explain=EXPLAIN.value)
    if distributed.is_writer():
        show(records, workdir, settings.probe_names)


def show(
    records: list[results.Record], workdir: Workdir, names: tuple[str, ...]
) -> None:
    """Draws the plots and prints the table."""
    workdir.plots.mkdir(exist_ok=True)
    plots.training_curves(
        workdir.plots / "training_curves.png", workdir.metrics, records, names
    )
    plots.per_class_bars(workdir.plots / "per_class_ap.png", records, names)
    # Wide enough for the table where the output is a file and not a terminal.
    console = Console()
    console.width = max(console.width, 100)
    console.print(results.table(records, names))
    console.print(f"everything is in {workdir.path}/", highlight=False)


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch(together(main), __doc__)
