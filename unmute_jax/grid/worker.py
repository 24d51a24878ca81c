"""Runs the cells of a grid in one process, which claims open cells one by one."""

from __future__ import annotations

import gc
import pathlib
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from unmute_jax import distributed, results
from unmute_jax.config import Experiment
from unmute_jax.errors import InputError, one_line
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.claims import CellStatus, Claim, ClaimLost, Claims
from unmute_jax.grid.folders import open_folder
from unmute_jax.io import describe_fault, disk_fault
from unmute_jax.store.files import PathOrUrl
from unmute_jax.training.run import embed_all, run_experiment
from unmute_jax.training.setup import Setup, open_dataset, open_source, prepare
from unmute_jax.training.workdir import Workdir, alone_in

Log = Callable[[str], None]
# A function that runs a cell, with the signature of `run_experiment`.
Run = Callable[..., list[results.Record]]

# The most seconds between two looks at cells that other processes work on.
LOOK_EVERY = 15.0
# Seconds in which a process whose cell was taken over leaves the cell's folder.
LEAVES_WITHIN = 60.0


def work(
    cells: Sequence[Cell],
    claims: Claims,
    *,
    run: Run = run_experiment,
    log: Log = print,
) -> list[str]:
    """Runs all cells that are not done, and returns when other processes are done too.

    A failed cell is retried by the next process, not by this one.

    Args:
        cells: The cells of the grid, those that share tokens next to each other.
        claims: The claims on the cells.
        run: The function that runs a cell.
        log: Function that reports a line to the user.

    Returns:
        The names of the cells that failed here.
    """
    failed, opener = list[str](), Opener()
    last, is_waiting = None, False
    while left := [cell for cell in cells if cell.name not in failed]:
        known = claims.look(cell.folder for cell in left)
        left = [cell for cell in left if known[cell.folder].state != "done"]
        if not left:
            break
        if claimed := _claim_best(left, claims, last):
            (last, claim), is_waiting = claimed, False
            log(f"cell {cells.index(last) + 1} of {len(cells)}: {last.name}")
            if problem := _attempt(last, claim, opener, claims.root, run, log):
                log(f"{last.name} failed: {problem}")
                failed.append(last.name)
            continue
        if not is_waiting:
            hosts = ", ".join(sorted({known[cell.folder].host for cell in left}))
            log(f"{len(left)} cells are left; other processes ({hosts}) work on them")
        is_waiting = True
        time.sleep(min(LOOK_EVERY, claims.expiry / 10))
    return failed


def _claim_best(
    cells: Sequence[Cell], claims: Claims, last: Cell | None
) -> tuple[Cell, Claim] | None:
    """Claims the best cell that is free; None if other processes have them all."""
    while True:
        known = claims.look(cell.folder for cell in cells)
        for cell in _in_order(cells, known, last):
            if claim := claims.claim(cell.folder):
                return cell, claim
            if known[cell.folder].state != "running":
                break  # Another process was faster, so another cell may be best now.
        else:
            return None


def _in_order(
    cells: Sequence[Cell], known: Mapping[str, CellStatus], last: Cell | None
) -> list[Cell]:
    """Returns the cells that are not done, the best first.

    Cells with the tokens of the last cell come first, then cells with tokens that no
    other process uses, so that hosts without a common cache compute different tokens.
    """
    left = [cell for cell in cells if known[cell.folder].state != "done"]
    busy = {cell.pair for cell in left if known[cell.folder].state == "running"}
    mine = last and last.pair
    return sorted(left, key=lambda cell: (cell.pair != mine, cell.pair in busy))


def _attempt(
    cell: Cell, claim: Claim, opener: Opener, root: PathOrUrl, run: Run, log: Log
) -> str | None:
    """Runs a cell; returns in one line why it failed, or None."""
    try:
        with claim:
            try:
                _run(cell, claim, opener, root, run, log)
                claim.end("done")
                return None
            except ClaimLost:
                raise
            except InputError as error:
                problem = one_line(str(error))
                claim.end("failed", problem)
            except Exception as error:  # Such as a device without enough memory.
                fault = disk_fault(error)
                told = f"{type(error).__name__}: {error}"
                problem = one_line(describe_fault(fault) if fault else told)
                claim.end("failed", problem, traceback.format_exc())
            return problem
    except ClaimLost:
        log(f"{cell.name}: this process was silent for too long; another has it now")
        return None
    finally:
        # The next cell may need the device memory that this one has used.
        jax.clear_caches()
        gc.collect()


def _run(
    cell: Cell, claim: Claim, opener: Opener, root: PathOrUrl, run: Run, log: Log
) -> None:
    with (
        open_folder(root, cell.folder) as folder,
        alone_in(folder, patience=LEAVES_WITHIN),
    ):
        workdir = _Watched(folder, cell.settings, claim)
        setup = opener.prepare(cell)
        data = setup.dataset
        log(f"data of {data.name}: {data.source}; licence {data.licence}")
        # Tokens come first, so that their time is counted as such.
        claim.enter("tokens")
        mesh = distributed.make_mesh(cell.settings.devices or None)
        for kept in setup.kept:
            embed_all(setup, kept, setup.splits, mesh, log=log)
        claim.enter("training")
        run(setup, workdir, log=lambda line: None)


class _Watched(Workdir):
    """A workdir that stops its run at an evaluation if the claim on it is lost."""

    def __init__(self, path: pathlib.Path, settings: Experiment, claim: Claim):
        super().__init__(path, settings)
        self._claim = claim

    def log(self, *about: Any, **named: Any) -> None:
        """Logs as `Workdir.log` does.

        Raises:
            ClaimLost: Another process has taken over the cell.
        """
        self._claim.check()
        super().log(*about, **named)


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
