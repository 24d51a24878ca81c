"""Searches learning rates and weight decays as in the paper, then trains the best.

unmute sweep --config quickstart
unmute sweep --config quickstart --config.sweep.ranges=paper
unmute sweep --config bpp_esc50 --config.sweep.halvings=0

Learning rates are searched from 1e-5 to 0.3 for every probe, so that no probe is
handicapped by its range. --config.sweep.ranges=paper, which the configs of the paper
set, searches the paper's two ranges: 2e-3 to 8e-2 for proto, protofloat and protobin,
1e-4 to 7e-3 for the others. That these probes have these ranges is our guess.

The search runs 25 trials of a Sobol sequence and 25 trials that TPE proposes, and stops
the worse ones early. The validation split chooses the best setting, which is trained
with all seeds, and the test split is scored once. The command is `unmute train` with
--config.search=sweep; it continues a search that was stopped.
"""

from __future__ import annotations

import dataclasses

from unmute_jax.cli import program, train
from unmute_jax.cli.processes import joined
from unmute_jax.config import Experiment, default_config


def main(settings: Experiment) -> None:
    """Trains the experiment with the search that is called "sweep"."""
    train.main(dataclasses.replace(settings, search="sweep"))


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_config(), train.USAGE) as arguments:
        program.only_options(arguments)
        with joined():
            main(program.experiment())
