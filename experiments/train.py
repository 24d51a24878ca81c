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

from experiments import cli, pods
from unmute_jax import parallel, plots, results
from unmute_jax.config import Experiment
from unmute_jax.training import experiment, plan
from unmute_jax.training.materials import prepare
from unmute_jax.training.workdir import Workdir

DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print what would be done and how long it takes; do nothing."
)
EXPLAIN = flags.DEFINE_bool(
    "explain", False, "Say which field differs where kept tokens cannot be used."
)


def main(settings: Experiment) -> None:
    """Prepares, runs, and shows the table."""
    folder = cli.WORKDIR.value or settings.default_workdir()
    materials = pods.writer_first(lambda: prepare(settings))
    if DRY_RUN.value:
        print(plan.describe(materials, folder))
        return
    workdir = Workdir(folder, settings)
    records = experiment.run(materials, workdir, explain=EXPLAIN.value)
    if parallel.is_writer():
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


if __name__ == "__main__":
    cli.launch(pods.together(main), __doc__)
