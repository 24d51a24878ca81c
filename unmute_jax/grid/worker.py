"""One process at work on a grid: it claims open cells, one by one, and runs them."""

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
from unmute_jax.grid.claims import Claim, ClaimLost, Claims, Entry
from unmute_jax.grid.folders import open_folder
from unmute_jax.store.files import Place
from unmute_jax.training.run import embed_all, run_experiment
from unmute_jax.training.setup import (
    Setup,
    open_dataset,
    open_source,
    prepare,
    splits_of,
)
from unmute_jax.training.workdir import Workdir

Log = Callable[[str], None]
# What runs a cell: all probes of the materials, or what is missing of them.
Run = Callable[..., list[results.Record]]

# Seconds between two looks at cells that others work on, at most.
LOOK_EVERY = 15.0


def work(
    cells: Sequence[Cell],
    claims: Claims,
    *,
    run: Run = run_experiment,
    log: Log = print,
) -> list[str]:
    """Runs all cells that are not done; returns when each is, here or elsewhere.

    A cell that fails is recorded and left; the next process that works on the grid
    tries it again, this one does not.

    Args:
        cells: Of the grid, those that share tokens next to each other.
        claims: Of the grid.
        run: What runs a cell, with the signature of `experiment.run`.
        log: Where lines for a person go.

    Returns:
        Names of the cells that failed here.
    """
    failed, opener = list[str](), Opener()
    last, is_waiting = None, False
    while left := [cell for cell in cells if cell.name not in failed]:
        known = claims.look(cell.folder for cell in left)
        left = [cell for cell in left if known[cell.folder].state != "done"]
        if not left:
            break
        if found := _claimed(left, claims, last):
            (last, claim), is_waiting = found, False
            log(f"cell {cells.index(last) + 1} of {len(cells)}: {last.name}")
            if problem := _attempt(last, claim, opener, claims.root, run, log):
                log(f"{last.name} failed: {problem}")
                failed.append(last.name)
            continue
        if not is_waiting:
            hosts = ", ".join(sorted({known[cell.folder].host for cell in left}))
            log(f"{len(left)} cells are left, others ({hosts}) work on them")
        is_waiting = True
        time.sleep(min(LOOK_EVERY, claims.expiry / 10))
    return failed


def _claimed(
    cells: Sequence[Cell], claims: Claims, last: Cell | None
) -> tuple[Cell, Claim] | None:
    """The best cell that can be had, now ours; None where others have them all."""
    while True:
        known = claims.look(cell.folder for cell in cells)
        for cell in _in_order(cells, known, last):
            if claim := claims.claim(cell.folder):
                return cell, claim
            if known[cell.folder].state != "running":
                break  # Somebody was faster, and another cell may be the best now.
        else:
            return None


def _in_order(
    cells: Sequence[Cell], known: Mapping[str, Entry], last: Cell | None
) -> list[Cell]:
    """The cells that are not done, the best first.

    That is one with the tokens of the last one; then one with tokens that nobody else
    works with, so that hosts without a common cache do not make the same tokens.
    """
    left = [cell for cell in cells if known[cell.folder].state != "done"]
    busy = {cell.pair for cell in left if known[cell.folder].state == "running"}
    mine = last and last.pair
    return sorted(left, key=lambda cell: (cell.pair != mine, cell.pair in busy))


def _attempt(
    cell: Cell, claim: Claim, opener: Opener, root: Place, run: Run, log: Log
) -> str | None:
    """Runs a cell; the value is why it failed, in one line, or None."""
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
                problem = one_line(f"{type(error).__name__}: {error}")
                claim.end("failed", problem, traceback.format_exc())
            return problem
    except ClaimLost:
        log(f"{cell.name}: this process was silent for too long, another has it now")
        return None
    finally:
        # What a cell leaves on the devices, the next one may need.
        jax.clear_caches()
        gc.collect()


def _run(
    cell: Cell, claim: Claim, opener: Opener, root: Place, run: Run, log: Log
) -> None:
    with open_folder(root, cell.folder) as folder:
        workdir = _Watched(folder, cell.settings, claim)
        setup = opener.prepare(cell)
        data = setup.dataset
        log(f"data of {data.name}: {data.source}; licence {data.licence}")
        # Tokens first, so that the time they take is known.
        claim.enter("tokens")
        mesh = distributed.make_mesh(cell.settings.devices or None)
        embed_all(setup, splits_of(setup), mesh, log=log)
        claim.enter("training")
        run(setup, workdir, log=lambda line: None)


class _Watched(Workdir):
    """A workdir that is left, at the next evaluation, when the claim on it is lost."""

    def __init__(self, path: pathlib.Path, settings: Experiment, claim: Claim):
        super().__init__(path, settings)
        self._claim = claim

    def log(self, *about: Any, **named: Any) -> None:
        """As of `Workdir`.

        Raises:
            ClaimLost: The cell is another's.
        """
        self._claim.check()
        super().log(*about, **named)


class Opener:
    """Opens what cells are made of, and does not look twice for what is missing."""

    def __init__(self):
        self._missing: dict[tuple[str, str], InputError] = {}

    def prepare(self, cell: Cell) -> Setup:
        """The materials of a cell."""
        parts = {
            ("encoder", cell.encoder): open_source,
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
