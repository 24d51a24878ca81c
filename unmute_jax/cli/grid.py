"""Runs a grid of encoders x data sets x probes, alone or together with other hosts.

unmute grid --config paper:general
unmute grid --config paper:all --status
unmute grid --config paper --config.encoders=eat,beats \
    --config.datasets=esc50 --config.probes=linear,protobin --dry_run

Several hosts share a grid if each of them runs the same command with a --workdir that
all of them see: a shared folder or gs://bucket/folder. Each host takes cells that no
other host works on, and takes over the cells of a host that has been silent for
--expiry seconds. The same command continues a grid that was stopped, and tries cells
that failed once more.
"""

from __future__ import annotations

import sys

from absl import flags

from unmute_jax.cli import program
from unmute_jax.console import print_table
from unmute_jax.grid import estimate, status, worker
from unmute_jax.grid.cells import Cell, Grid, chosen, default_grid
from unmute_jax.grid.claims import Claims
from unmute_jax.store.files import PathOrUrl, path_or_url

STATUS = flags.DEFINE_bool("status", False, "Show how far the grid is, then stop.")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print bytes, parameters, steps and device-hours, then stop."
)
RATE = flags.DEFINE_float(
    "rate",
    None,
    "With --dry_run: the speed of the device to run on, in billions of multiply-adds "
    "per second. By default this device is measured.",
    lower_bound=1e-3,
)
ONLY = flags.DEFINE_list(
    "only", [], "Patterns of cell names, such as 'eat-*'. Other cells are left out."
)
SKIP = flags.DEFINE_list("skip", [], "Patterns of the names of cells to leave out.")
EXPIRY = flags.DEFINE_float(
    "expiry",
    300.0,
    "The seconds of silence after which the cells of another host are taken over.",
    lower_bound=0.1,
)


def main(grid: Grid) -> None:
    """Runs the cells of the grid, or shows its state."""
    cells = chosen(grid.cells(), ONLY.value, SKIP.value)
    root = path_or_url(program.WORKDIR.value or grid.default_workdir())
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


def _show(cells: list[Cell], claims: Claims, root: PathOrUrl) -> None:
    known = claims.look(c.folder for c in cells)
    print_table(status.table(status.gather(cells, known, root)))
    print(f"all files are in {root}/")


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_grid()) as arguments:
        program.only_options(arguments)
        main(Grid.from_dict(program.config_values()))
