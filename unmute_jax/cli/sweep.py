"""Searches rates and weight decays as the paper did: many trials as one program.

python -m experiments.sweep --config configs/quickstart.py
python -m experiments.sweep --config configs/bpp_esc50.py --config.sweep.halvings=0

25 trials of a Sobol sequence, then 25 that TPE proposes; the worse ones are stopped
early. Validation chooses, the best is trained with all seeds, and the test split is
scored once. It is `experiments.train` with --config.search=sweep, and goes on in the
same way where it was stopped.
"""

from __future__ import annotations

import dataclasses

from unmute_jax.cli import program, train
from unmute_jax.cli.processes import together
from unmute_jax.config import Experiment


def main(settings: Experiment) -> None:
    """Runs the experiment with this search, whatever its config says."""
    train.main(dataclasses.replace(settings, search="sweep"))


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch(together(main), __doc__)
