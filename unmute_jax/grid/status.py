"""Reports which cells of a grid are done and how long the rest will take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table

from unmute_jax.grid import placeholders
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.folder import CellStatus, GridFolder


@dataclass(frozen=True)
class Progress:
    """The cells of a grid and what is known about each.

    Attributes:
        cells: The cells.
        statuses: The status of each cell, by the name of its folder.
        trials: The number of finished trials, by the name of the folder, of cells that
            have trials and were begun.
    """

    cells: Sequence[Cell]
    statuses: Mapping[str, CellStatus]
    trials: Mapping[str, int]

    def of(self, state: str) -> list[Cell]:
        """Returns the cells in this state."""
        return [c for c in self.cells if self.statuses[c.folder].state == state]


@dataclass(frozen=True)
class TimeLeft:
    """An estimate from the cells that are done.

    Attributes:
        seconds: Seconds of one process for all cells that are left, or None if no cell
            is done.
        basis: The origin of the estimate, for people.
    """

    seconds: float | None
    basis: str


def gather(
    cells: Sequence[Cell], statuses: Mapping[str, CellStatus], grid: GridFolder
) -> Progress:
    """Counts the finished trials of the cells that were begun.

    Args:
        cells: The cells of the grid.
        statuses: The status of each cell, by the name of its folder.
        grid: The folder of the grid.
    """
    begun = [c for c in cells if statuses[c.folder] != CellStatus() and not c.is_fitted]
    trials = {c.folder: grid.count(c, _room(c)) for c in begun}
    return Progress(cells, statuses, trials)


def _room(cell: Cell) -> str:
    """Returns the folder in which each finished trial leaves a file."""
    return "trials" if cell.settings.search == "sweep" else "results"


def planned_trials(cell: Cell) -> int | None:
    """Returns the number of files that `gather` counts once a cell is done.

    For each protocol, a sweep leaves one file per trial and a search over learning
    rates one per seed. The number is None if only the data set tells how many protocols
    there are.
    """
    if cell.is_fitted:
        return 0
    settings = cell.settings
    each = settings.seeds
    if settings.search == "sweep":
        each = settings.sweep.sobol + settings.sweep.tpe
    protocols = placeholders.protocol_count(settings)
    return None if protocols is None else protocols * each


def time_left(progress: Progress) -> TimeLeft:
    """Estimates how long the cells that are not done will take.

    A cell is assumed to take as long as the median of the done cells with the same data
    set and probe; if there are none, of those with the same probe; otherwise of all. If
    it has taken longer already, its own trials tell the pace. Tokens that no cell has
    yet are assumed to take as long as those of the same data set, otherwise as all.
    """
    done = progress.of("done")
    left = [c for c in progress.cells if progress.statuses[c.folder].state != "done"]
    if not left:
        return TimeLeft(0.0, "all cells are done")
    if not done:
        return TimeLeft(None, "not known before the first cell is done")
    statuses, total = progress.statuses, 0.0
    kinds: dict[str, int] = {}
    have_tokens = {
        c.pair
        for c in progress.cells
        if statuses[c.folder].training and statuses[c.folder].state != "open"
    }
    for cell in left:
        here = statuses[cell.folder]
        training, kind = _similar(cell, done, lambda c: statuses[c.folder].training)
        # While the cell may still take as long as they did, they tell more than its own
        # trials: those that a search stops early come first, and repeats come last.
        # After that they would say that nothing is left.
        own = _at_own_pace(cell, progress)
        if here.training >= training and own:
            training, kind = here.training + own, "its own trials so far"
        kinds[kind] = kinds.get(kind, 0) + 1
        total += max(0.0, training - here.training)
        if cell.pair not in have_tokens:
            total += max(0.0, _tokens(cell, progress) - here.tokens)
            have_tokens.add(cell.pair)
    counted = ", ".join(f"{n} as {kind}" for kind, n in kinds.items())
    return TimeLeft(total, f"from the {len(done)} cells that are done: {counted}")


def _similar(
    cell: Cell, done: Sequence[Cell], seconds: Callable[[Cell], float]
) -> tuple[float, str]:
    """Returns the median over the most similar cells, and what they have in common."""
    name = cell.settings.probes
    kinds = {
        "the same data set and probe": lambda c: (
            c.dataset == cell.dataset and c.settings.probes == name
        ),
        "the same probe": lambda c: c.settings.probes == name,
        "any": lambda c: True,
    }
    for kind, is_similar in kinds.items():
        if similar := [seconds(c) for c in done if is_similar(c)]:
            return statistics.median(similar), kind
    raise AssertionError("there is a cell that is done")


def _at_own_pace(cell: Cell, progress: Progress) -> float:
    """Returns the seconds of the trials that are left, or 0 if none is finished."""
    finished, planned = progress.trials.get(cell.folder, 0), planned_trials(cell)
    if not finished or planned is None:
        return 0.0
    return progress.statuses[cell.folder].training * (planned - finished) / finished


def _tokens(cell: Cell, progress: Progress) -> float:
    """Returns the seconds for the tokens of a cell, judging by the done cells."""
    spent: dict[tuple[str, str], float] = {}
    for c in progress.of("done"):
        tokens = progress.statuses[c.folder].tokens
        spent[c.pair] = spent.get(c.pair, 0.0) + tokens
    same = [s for pair, s in spent.items() if pair[1] == cell.dataset]
    return statistics.median(same or spent.values())


def table(progress: Progress) -> Group:
    """Returns what `--status` shows: a table and lines."""
    statuses = progress.statuses
    shown = Table()
    shown.add_column("cells done", no_wrap=True)
    encoders = list(dict.fromkeys(c.encoder for c in progress.cells))
    for name in encoders:
        shown.add_column(name, justify="right")
    for dataset in dict.fromkeys(c.dataset for c in progress.cells):
        row = [c for c in progress.cells if c.dataset == dataset]
        shown.add_row(
            dataset,
            *(_summary([c for c in row if c.encoder == e], statuses) for e in encoders),
        )
    return Group(shown, *_lines(progress))


def _summary(cells: Sequence[Cell], statuses: Mapping[str, CellStatus]) -> str:
    states = [statuses[c.folder].state for c in cells]
    more = [f"{states.count(s)} {s}" for s in ("running", "failed") if s in states]
    return ", ".join([f"{states.count('done')}/{len(cells)}", *more])


def _lines(progress: Progress) -> list[str]:
    statuses, lines = progress.statuses, list[str]()
    for cell in progress.of("running"):
        e = statuses[cell.folder]
        line = f"running  {cell.name}: {e.phase} on {e.host} since {e.since}"
        if not cell.is_fitted:
            line += f", {_of(progress.trials[cell.folder], [cell])} trials"
        lines.append(line)
    for cell in progress.of("failed"):
        e = statuses[cell.folder]
        lines.append(f"failed   {cell.name} on {e.host}: {e.message}")
    count = {s: len(progress.of(s)) for s in ("done", "running", "failed", "open")}
    counts = ", ".join(f"{n} {state}" for state, n in count.items())
    used = sum(e.tokens + e.training for e in statuses.values())
    trials = _of(sum(progress.trials.values()), progress.cells)
    lines.append(f"cells    {counts}; {trials} trials finished; {hours(used)} used")
    left, workers = time_left(progress), count["running"]
    if left.seconds is None:
        lines.append(f"left     {left.basis}")
        return lines
    shared = f", {hours(left.seconds / workers)} for {workers}" if workers > 1 else ""
    lines.append(
        f"left     about {hours(left.seconds)} for one process{shared} ({left.basis})"
    )
    return lines


def _of(finished: int, cells: Sequence[Cell]) -> str:
    """Returns "12 of 50", or "12" if it is not known how many there will be."""
    planned = [planned_trials(cell) for cell in cells]
    known = [count for count in planned if count is not None]
    whole = f" of {sum(known)}" if len(known) == len(planned) else ""
    return f"{finished}{whole}"


def hours(seconds: float) -> str:
    """Formats a duration in hours, minutes or seconds: "1,234.5 h"."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
