"""Runs the cells of a grid one after the other in this process."""

from __future__ import annotations

import functools
import platform
from collections.abc import Sequence

from unmute_jax.grid.cells import Cell
from unmute_jax.grid.folder import GridFolder
from unmute_jax.grid.run_cell import Log, Opener, run_cell


def work(cells: Sequence[Cell], grid: GridFolder, *, log: Log = print) -> list[str]:
    """Runs all cells that are not done.

    Args:
        cells: The cells, those that share tokens next to each other.
        grid: The folder of the grid.
        log: A function that is called with lines for the user.

    Returns:
        The names of the cells that failed.
    """
    failed, opener = list[str](), Opener()
    with grid.driven(cells) as known:
        for number, cell in enumerate(cells, start=1):
            if known[cell.folder].state == "done":
                continue
            log(f"cell {number} of {len(cells)}: {cell.name}")
            grid.begin(cell, platform.node())
            enter = functools.partial(grid.enter, cell)
            outcome = run_cell(cell, grid.of(cell), opener, enter, log)
            grid.end(cell, *outcome)
            if outcome.state == "failed":
                log(f"{cell.name} failed: {outcome.message}")
                failed.append(cell.name)
    return failed
