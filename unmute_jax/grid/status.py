"""How far a grid is, and how long the rest will take."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table

from unmute_jax.grid import placeholders
from unmute_jax.grid.cells import Cell
from unmute_jax.grid.claims import Entry
from unmute_jax.grid.folders import count_files
from unmute_jax.store.files import PathOrUrl


@dataclass(frozen=True)
class Progress:
    """The cells of a grid and what is known of each.

    Attributes:
        cells: Of the grid.
        entries: By the names of their folders.
        trials: Finished trials, likewise; none of what has no trials, or was never
            begun.
    """

    cells: Sequence[Cell]
    entries: Mapping[str, Entry]
    trials: Mapping[str, int]

    def of(self, state: str) -> list[Cell]:
        """The cells in this state."""
        return [c for c in self.cells if self.entries[c.folder].state == state]


@dataclass(frozen=True)
class TimeLeft:
    """An estimate from the cells that are done.

    Attributes:
        seconds: Of one process, for all that is left; None where nothing is known.
        basis: How it came about.
    """

    seconds: float | None
    basis: str


def gather(
    cells: Sequence[Cell], entries: Mapping[str, Entry], root: PathOrUrl
) -> Progress:
    """Counts the files of the cells that anybody has worked on."""
    begun = [c for c in cells if entries[c.folder] != Entry() and not c.is_fitted]
    trials = {c.folder: count_files(root, c.folder, _room(c)) for c in begun}
    return Progress(cells, entries, trials)


def _room(cell: Cell) -> str:
    """Where each trial that is counted leaves a file."""
    return "trials" if cell.settings.search == "sweep" else "results"


def planned_trials(cell: Cell) -> int | None:
    """How many files there are in the end of those that `gather` counts.

    A sweep leaves one per trial, a search of rates one per seed, of every protocol.
    None where the number of protocols is not known without the data set.
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
    """How long the cells that are not done will take.

    A cell takes as long as those of the same data set and probe took, if any is done;
    else as those of the same probe; else as any. One that has taken longer already
    goes on at the pace of its own trials. Its tokens, where no cell with the same ones
    is past them, take as long as those of the same data set; else as any.
    """
    done = progress.of("done")
    left = [c for c in progress.cells if progress.entries[c.folder].state != "done"]
    if not left:
        return TimeLeft(0.0, "all cells are done")
    if not done:
        return TimeLeft(None, "not known before the first cell is done")
    entries, total = progress.entries, 0.0
    kinds: dict[str, int] = {}
    have_tokens = {
        c.pair
        for c in progress.cells
        if entries[c.folder].training and entries[c.folder].state != "open"
    }
    for cell in left:
        here = entries[cell.folder]
        training, kind = _like(cell, done, lambda c: entries[c.folder].training)
        # As long as it may still be like them, they tell more than its own trials: of
        # a search those that are stopped early come first, and repeats come last. But
        # once it is not like them, they would say that nothing is left of it.
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


def _like(
    cell: Cell, done: Sequence[Cell], seconds: Callable[[Cell], float]
) -> tuple[float, str]:
    """The median of the most alike cells, and how alike they are."""
    name = cell.settings.probes
    kinds = {
        "the same data set and probe": lambda c: (
            c.dataset == cell.dataset and c.settings.probes == name
        ),
        "the same probe": lambda c: c.settings.probes == name,
        "any": lambda c: True,
    }
    for kind, is_like in kinds.items():
        if alike := [seconds(c) for c in done if is_like(c)]:
            return statistics.median(alike), kind
    raise AssertionError("there is a cell that is done")


def _at_own_pace(cell: Cell, progress: Progress) -> float:
    """Seconds of the trials that are left, if all take as long; 0 if none tells."""
    finished, planned = progress.trials.get(cell.folder, 0), planned_trials(cell)
    if not finished or planned is None:
        return 0.0
    return progress.entries[cell.folder].training * (planned - finished) / finished


def _tokens(cell: Cell, progress: Progress) -> float:
    """Seconds that the tokens of a cell take, as far as others tell."""
    spent: dict[tuple[str, str], float] = {}
    for c in progress.of("done"):
        tokens = progress.entries[c.folder].tokens
        spent[c.pair] = spent.get(c.pair, 0.0) + tokens
    same = [s for pair, s in spent.items() if pair[1] == cell.dataset]
    return statistics.median(same or spent.values())


def table(progress: Progress) -> Group:
    """What `--status` shows."""
    entries = progress.entries
    made = Table()
    made.add_column("cells done", no_wrap=True)
    encoders = list(dict.fromkeys(c.encoder for c in progress.cells))
    for name in encoders:
        made.add_column(name, justify="right")
    for dataset in dict.fromkeys(c.dataset for c in progress.cells):
        row = [c for c in progress.cells if c.dataset == dataset]
        made.add_row(
            dataset,
            *(_summary([c for c in row if c.encoder == e], entries) for e in encoders),
        )
    return Group(made, *_lines(progress))


def _summary(cells: Sequence[Cell], entries: Mapping[str, Entry]) -> str:
    states = [entries[c.folder].state for c in cells]
    more = [f"{states.count(s)} {s}" for s in ("running", "failed") if s in states]
    return ", ".join([f"{states.count('done')}/{len(cells)}", *more])


def _lines(progress: Progress) -> list[str]:
    entries, lines = progress.entries, list[str]()
    for cell in progress.of("running"):
        e = entries[cell.folder]
        line = f"running  {cell.name}: {e.phase} on {e.host} since {e.since}"
        if not cell.is_fitted:
            line += f", {_of(progress.trials[cell.folder], [cell])} trials"
        lines.append(line)
    for cell in progress.of("failed"):
        e = entries[cell.folder]
        lines.append(f"failed   {cell.name} on {e.host}: {e.message}")
    count = {s: len(progress.of(s)) for s in ("done", "running", "failed", "open")}
    said = ", ".join(f"{n} {state}" for state, n in count.items())
    used = sum(e.tokens + e.training for e in entries.values())
    trials = _of(sum(progress.trials.values()), progress.cells)
    lines.append(f"cells    {said}; {trials} trials finished; {hours(used)} used")
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
    """`12 of 50`, or `12` where it is not known how many there will be."""
    planned = [planned_trials(cell) for cell in cells]
    known = [count for count in planned if count is not None]
    whole = f" of {sum(known)}" if len(known) == len(planned) else ""
    return f"{finished}{whole}"


def hours(seconds: float) -> str:
    """A time that a person can read."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
