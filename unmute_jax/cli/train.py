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

from unmute_jax.cli import program
from unmute_jax.cli.processes import joined
from unmute_jax.config import Experiment, default_config
from unmute_jax.console import print_table

USAGE = "--config=CONFIG [--workdir=FOLDER] [--config.KEY=VALUE ...]"
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
    with program.importing():
        from unmute_jax import distributed, results
        from unmute_jax.training.experiments import train

    records = train(settings, workdir=folder, explain=EXPLAIN.value)
    if distributed.is_writer():
        print_table(results.table(records, settings.probe_names))
        print(f"all files of this run are in {pathlib.Path(folder).expanduser()}/")


def _print_plan(settings: Experiment, folder: str) -> None:
    """Prints what the run would do, as far as that is known without any download."""
    with program.importing():
        from unmute_jax.training import plan
        from unmute_jax.training.placeholders import preview

    setup, missing = preview(settings)
    if setup is not None:
        print(plan.describe(setup, folder, explain=EXPLAIN.value, missing=missing))
        return
    print(f"data      {settings.dataset}: its clips can be counted once they are here")
    for problem in missing:
        print(f"missing   {problem}")


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_config(), USAGE) as arguments:
        program.only_options(arguments)
        with joined():
            main(program.experiment())
