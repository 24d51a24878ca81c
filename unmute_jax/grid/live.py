"""Shows the progress of all cells while they run elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from unmute_jax.errors import printable
from unmute_jax.grid import status
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.folder import GridFolder
from unmute_jax.grid.run_cell import Log

# Seconds between two views on a terminal.
SHOW_EVERY = 2.0


@contextlib.contextmanager
def shown(cells: Sequence[Cell], grid: GridFolder, log: Log) -> Generator[Log]:
    """Shows the table of `--status` on a terminal as long as a `with` block runs.

    Args:
        cells: The cells of the grid.
        grid: The folder of the grid, of which this process is the driver.
        log: A function that is called with lines for the user, where there is no
            terminal.

    Yields:
        The function to be called with lines for the user.
    """
    if not sys.stdout.isatty():
        yield log
        return
    console = Console(highlight=False, markup=False, emoji=False)

    def view() -> RenderableType:
        return status.table(status.gather(cells, grid.look(cells), grid))

    with Live(
        console=console,
        transient=True,
        refresh_per_second=1 / SHOW_EVERY,
        get_renderable=view,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield lambda line: console.print(Text(printable(line)))
