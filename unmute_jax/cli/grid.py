"""Runs a grid of encoders x data sets x probes, alone or with other hosts.

python -m experiments.grid --config configs/paper.py:general
python -m experiments.grid --config configs/paper.py:all --status
python -m experiments.grid --config configs/paper.py --config.encoders=eat,beats \
    --config.datasets=esc50 --config.probes=linear,protobin --dry_run

Give the same command on as many hosts as you like, with a --workdir that all of them
see: a shared folder or gs://bucket/folder. Each takes cells that nobody works on, and
cells of a host that has not been heard of for --expiry seconds. A grid that was stopped
goes on where it was when the command is given again; cells that failed are tried again.
"""

from __future__ import annotations

import sys

from absl import flags
from rich.console import Console

from unmute_jax.cli import program
from unmute_jax.grid import estimate, status, worker
from unmute_jax.grid.cells import Cell, Grid, chosen, default_grid
from unmute_jax.grid.claims import Claims
from unmute_jax.store.files import Place, place_of

STATUS = flags.DEFINE_bool("status", False, "Show how far the grid is; do nothing.")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print bytes, parameters, steps and device-hours; do nothing."
)
RATE = flags.DEFINE_float(
    "rate",
    None,
    "With --dry_run: billions of multiply-adds per second of the device to run on; "
    "without it this device is measured.",
    lower_bound=1e-3,
)
ONLY = flags.DEFINE_list(
    "only", [], "Patterns of the names of cells, such as 'eat-*': others are left out."
)
SKIP = flags.DEFINE_list("skip", [], "Patterns of cells to leave out.")
EXPIRY = flags.DEFINE_float(
    "expiry",
    300.0,
    "Seconds of silence after which the cell of another host is taken over.",
    lower_bound=0.1,
)


def main(grid: Grid) -> None:
    """Works on the grid, or shows how far it is."""
    cells = chosen(grid.cells(), ONLY.value, SKIP.value)
    root = place_of(program.WORKDIR.value or grid.default_workdir())
    claims = Claims(root, expiry=EXPIRY.value)
    if DRY_RUN.value:
        known = claims.look(c.folder for c in cells)
        done = {c.folder for c in cells if known[c.folder].state == "done"}
        rate = RATE.value and 1e9 * RATE.value
        found = estimate.estimate(cells, rate=rate)
        print("\n".join(estimate.describe(found, cells, done)))
        return
    if STATUS.value:
        _show(cells, claims, root)
        return
    failed = worker.work(cells, claims)
    _show(cells, claims, root)
    if failed:
        sys.exit(1)


def _show(cells: list[Cell], claims: Claims, root: Place) -> None:
    known = claims.look(c.folder for c in cells)
    console = Console(highlight=False)
    console.width = max(console.width, 100)
    console.print(status.table(status.gather(cells, known, root)))
    console.print(f"everything is in {root}/", highlight=False)


def run() -> None:
    """Runs the command with the arguments of this process."""
    program.launch(main, __doc__, build=Grid.from_dict, defaults=default_grid)
