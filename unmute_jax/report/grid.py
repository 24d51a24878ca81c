"""Records put in order: a cell for every data set, encoder and probe."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.report import names
from unmute_jax.results import predictions
from unmute_jax.results.record import KEY, Record, read_search_trial, record_name


@dataclass(frozen=True)
class Found:
    """A record and its file."""

    record: Record
    path: pathlib.Path

    @functools.cached_property
    def predictions(self) -> pathlib.Path | None:
        """The logits of its test clips, where they were kept."""
        folder = self.path.parent.parent / "predictions"
        path = predictions.path_of(folder, self.path.name)
        return path if path.exists() else None

    @functools.cached_property
    def histories(self) -> tuple[dict[int, float | None], ...]:
        """Per trial of a sweep, epoch -> validation score; none where not kept."""
        key = {name: getattr(self.record, name) for name in KEY}
        # The first seed searches.
        key["seed"] = self.record.settings.get("seed", self.record.seed)
        folder = self.path.parent.parent / "trials"
        paths = [
            folder / record_name(**key, number=k)
            for k in range(len(self.record.search))
        ]
        if not paths or not all(path.exists() for path in paths):
            return ()
        return tuple(dict(read_search_trial(path).scores) for path in paths)


@dataclass(frozen=True)
class Cell:
    """One probe on the tokens of one encoder, on one data set: all seeds and folds.

    Attributes:
        dataset: Its name, as the report spells it.
        encoder: Likewise.
        probe: Likewise, with what tells it from other readings or trainings of it.
        recipe: What tells its training from the usual one; mostly empty.
        found: One per seed and fold, whole: all seeds have the same folds.
    """

    dataset: str
    encoder: str
    probe: str
    recipe: str
    found: tuple[Found, ...]

    @property
    def first(self) -> Record:
        """Any of the records, for what they have in common."""
        return self.found[0].record

    @property
    def prototypes(self) -> int | None:
        """J, where it has prototypes."""
        return names.prototypes_per_class(self.first)

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """Of the trainings."""
        return tuple(sorted({f.record.seed for f in self.found}))

    @functools.cached_property
    def folds(self) -> tuple[str, ...]:
        """Names of the protocols."""
        return tuple(sorted({f.record.protocol for f in self.found}))

    @functools.cached_property
    def scores(self) -> Float[np.ndarray, " S"]:
        """Per seed, the mean test score over folds, in points of 100."""
        return np.asarray(
            [
                np.mean([100 * f.record.test for f in self.found if f.record.seed == s])
                for s in self.seeds
            ]
        )

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.scores.mean())

    @property
    def sd(self) -> float:
        """Over seeds; zero for probes without chance, NaN where one seed was run."""
        if len(self.seeds) > 1:
            return float(self.scores.std(ddof=1))
        return 0.0 if self.first.learning_rate is None else np.nan

    @property
    def search(self) -> list[dict[str, Any]]:
        """The trials of all folds; seeds share them."""
        searches = {f.record.protocol: f.record.search for f in self.found}
        return [dict(trial) for search in searches.values() for trial in search]


@dataclass(frozen=True)
class Grid:
    """All cells, and their names in the paper's order.

    Attributes:
        cells: By data set, probe and encoder.
        datasets: Their names.
        encoders: Likewise.
        probes: Likewise.
        trainings: Names of trainings -> how they differ from the usual one.
        twice: Trials that several runs have with different scores; the first counts.
    """

    cells: tuple[Cell, ...]
    datasets: tuple[str, ...]
    encoders: tuple[str, ...]
    probes: tuple[str, ...]
    trainings: Mapping[str, str] = field(default_factory=dict[str, str])
    twice: int = 0

    @functools.cached_property
    def _index(self) -> dict[tuple[str, str, str], Cell]:
        return {(c.dataset, c.encoder, c.probe): c for c in self.cells}

    @functools.cached_property
    def _linear(self) -> dict[Hashable, Cell]:
        found: dict[Hashable, Cell] = {}
        for cell in sorted(self.cells, key=lambda c: len(c.first.probe_options)):
            if cell.first.probe == "linear":
                found.setdefault(_company(cell), cell)
        return found

    def at(self, dataset: str, encoder: str, probe: str) -> Cell | None:
        """The cell of these names; a grid may have holes."""
        return self._index.get((dataset, encoder, probe))

    def linear_beside(self, cell: Cell) -> Cell | None:
        """The linear probe that was trained like `cell`, on the same folds."""
        return self._linear.get(_company(cell))

    def of_dataset(self, dataset: str) -> list[Cell]:
        """In order of probes and encoders."""
        return [c for c in self.cells if c.dataset == dataset]

    def metric(self, dataset: str) -> str:
        """What the data set is scored by."""
        return self.of_dataset(dataset)[0].first.metric

    @property
    def records(self) -> list[Record]:
        """Those of all cells."""
        return [f.record for c in self.cells for f in c.found]


def _company(cell: Cell) -> Hashable:
    """What two probes must share to be compared."""
    return cell.dataset, cell.encoder, cell.recipe, cell.folds
