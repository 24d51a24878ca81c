"""Runs one cell of a grid in a folder, and says how it ended."""

from __future__ import annotations

import gc
import pathlib
import traceback
from collections.abc import Callable
from typing import NamedTuple

import jax

from unmute_jax import distributed
from unmute_jax.errors import InputError, one_line
from unmute_jax.grid.cells import Cell
from unmute_jax.io import describe_fault, disk_fault
from unmute_jax.training.run import embed_all, run_experiment
from unmute_jax.training.setup import Setup, open_dataset, open_source, prepare
from unmute_jax.training.workdir import Workdir, alone_in

Log = Callable[[str], None]


class Outcome(NamedTuple):
    """How a cell has ended.

    Attributes:
        state: "done" or "failed".
        message: Why it failed, in one line.
        details: The traceback of the failure, where the settings are not to blame.
    """

    state: str
    message: str = ""
    details: str = ""


class Opener:
    """Prepares cells, and looks only once for a data set or encoder that is missing."""

    def __init__(self):
        self._missing: dict[tuple[str, str], InputError] = {}

    def prepare(self, cell: Cell) -> Setup:
        """Returns the setup of a cell.

        Raises:
            InputError: Its data set or encoder is missing, now or at an earlier cell.
        """
        parts = {
            # Its place may depend on the data set.
            ("encoder", f"{cell.encoder} {cell.settings.encoder}"): open_source,
            ("dataset", cell.dataset): open_dataset,
        }
        for part in parts:
            if part in self._missing:
                raise self._missing[part]
        try:
            return prepare(cell.settings)
        except InputError:
            for part, open_it in parts.items():
                try:
                    open_it(cell.settings)
                except InputError as error:
                    self._missing[part] = error
            raise


def run_cell(
    cell: Cell,
    folder: pathlib.Path,
    opener: Opener,
    enter: Callable[[str], None],
    log: Log,
) -> Outcome:
    """Runs what is missing of a cell.

    Args:
        cell: The cell.
        folder: The folder of its run.
        opener: What has prepared the earlier cells of this process.
        enter: A function that is called when a phase begins: "tokens" or "training".
        log: A function that is called with lines for the user.
    """
    try:
        _run(cell, folder, opener, enter, log)
        return Outcome("done")
    except InputError as error:
        return Outcome("failed", one_line(str(error)))
    except Exception as error:  # Such as a device without enough memory.
        fault = disk_fault(error)
        told = describe_fault(fault) if fault else f"{type(error).__name__}: {error}"
        return Outcome("failed", one_line(told), traceback.format_exc())
    finally:
        # The next cell may need the device memory that this one has used.
        jax.clear_caches()
        gc.collect()


def _run(
    cell: Cell,
    folder: pathlib.Path,
    opener: Opener,
    enter: Callable[[str], None],
    log: Log,
) -> None:
    with alone_in(folder):
        workdir = Workdir(folder, cell.settings)
        setup = opener.prepare(cell)
        data = setup.dataset
        log(f"data of {data.name}: {data.source}; licence {data.licence}")
        # Tokens come first, so that their time is counted as such.
        enter("tokens")
        mesh = distributed.make_mesh(cell.settings.devices or None)
        for kept in setup.kept:
            embed_all(setup, kept, setup.splits, mesh, log=log)
        enter("training")
        run_experiment(setup, workdir, log=lambda line: None)
