"""Runs a grid of encoders x data sets x probes, here or on the nodes of a Ray cluster.

unmute grid --config paper:general
unmute grid --config paper:all --status
unmute grid --config paper --config.encoders=eat,beats \
    --config.datasets=esc50 --config.probes=linear,protobin --dry_run
unmute grid --config paper:general --engine=ray --address=auto

By default the cells are run one after the other in this process. With --engine=ray they
are tasks on a Ray cluster: results stream back to this process, which alone writes
them. The same command, with either engine, continues a grid that was stopped, and tries
cells that failed once more.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from absl import flags

from unmute_jax.cli import engine, program
from unmute_jax.console import print_table
from unmute_jax.grid.axes import default_grid

if TYPE_CHECKING:
    from unmute_jax.grid.cells import Cell, Grid
    from unmute_jax.grid.folder import GridFolder

USAGE = "--config=CONFIG [--workdir=FOLDER] [--config.KEY=VALUE ...]"
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


def main(grid: Grid) -> None:
    """Runs the cells of the grid, or shows its state."""
    from unmute_jax.grid.cells import chosen
    from unmute_jax.grid.folder import GridFolder

    is_local = engine.is_local()
    cells = chosen(grid.cells(), ONLY.value, SKIP.value)
    folder = GridFolder(program.WORKDIR.value or grid.default_workdir())
    if DRY_RUN.value:
        _show_estimate(cells, folder)
        return
    failed = list[str]()
    if not STATUS.value:
        failed = (_work_here if is_local else _work_on_ray)(cells, folder)
    _show(cells, folder)
    if failed:
        sys.exit(1)


def _work_here(cells: list[Cell], folder: GridFolder) -> list[str]:
    from unmute_jax.grid import local

    return local.work(cells, folder)


def _work_on_ray(cells: list[Cell], folder: GridFolder) -> list[str]:
    import jax

    from unmute_jax.distributed import ray_cluster
    from unmute_jax.grid import on_ray

    # The accelerators of this machine are for the tasks.
    jax.config.update("jax_platforms", "cpu")
    with ray_cluster.connected(engine.ADDRESS.value) as ray:
        needs, retries = engine.needs(ray), engine.MAX_RETRIES.value
        return on_ray.work(cells, folder, ray, needs, max_retries=retries)


def _show_estimate(cells: list[Cell], folder: GridFolder) -> None:
    from unmute_jax.grid import estimate

    known = folder.look(cells)
    done = {c.folder for c in cells if known[c.folder].state == "done"}
    rate = RATE.value and 1e9 * RATE.value
    found = estimate.estimate(cells, rate=rate)
    print("\n".join(estimate.describe(found, cells, done)))


def _show(cells: list[Cell], folder: GridFolder) -> None:
    from unmute_jax.grid import status

    print_table(status.table(status.gather(cells, folder.look(cells), folder)))
    print(f"all files are in {folder.root}/")


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, default_grid(), USAGE) as arguments:
        program.only_options(arguments)
        with program.importing():
            from unmute_jax.grid.cells import Grid

        main(Grid.from_dict(program.config_values()))
