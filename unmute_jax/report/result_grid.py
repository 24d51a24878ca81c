"""Arranges records in a grid: one cell per data set, encoder and probe."""

from __future__ import annotations

import functools
import hashlib
import itertools
import pathlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax.report import names
from unmute_jax.report.missing import Missing
from unmute_jax.report.tables import NOT_RUN, Field
from unmute_jax.results import predictions
from unmute_jax.results.ranges import in_words
from unmute_jax.results.record import KEY, Record, read_search_trial, record_name
from unmute_jax.results.typed_json import DamagedFile


@dataclass(frozen=True)
class RecordFile:
    """A record and the file that it was read from."""

    record: Record
    path: pathlib.Path

    @functools.cached_property
    def predictions(self) -> pathlib.Path | None:
        """The file with the logits of the test clips; None if they were not saved."""
        folder = self.path.parent.parent / "predictions"
        path = predictions.path_of(folder, self.path.name)
        return path if path.exists() else None

    @functools.cached_property
    def _test_split(self) -> tuple[int, int, str, str]:
        """Numbers of clips and groups, and digests of the clips and their logits."""
        assert self.predictions is not None
        saved = predictions.read_predictions(self.predictions)
        rows = [f"{i}\n{g}" for i, g in zip(saved.ids, saved.groups, strict=True)]
        clips, labels = dict.fromkeys(rows), saved.labels.tobytes()
        # Time steps, and so their labels, differ between encoders.
        contents = "\n".join(clips).encode() + (
            labels if len(clips) == len(rows) else b""
        )
        digests = (contents, contents + labels + saved.logits.tobytes())
        first, second = (hashlib.sha256(x).hexdigest() for x in digests)
        return len(clips), len(set(saved.groups)), first, second

    @property
    def test_counts(self) -> tuple[int, int]:
        """The numbers of test clips, and of the groups that they were cut from.

        They are those of the saved predictions, which must exist.
        """
        return self._test_split[:2]

    @property
    def test_digests(self) -> tuple[str, str] | None:
        """Digests of the test clips with their labels, and of these with the logits.

        None if the predictions were not saved.
        """
        return None if self.predictions is None else self._test_split[2:]

    @functools.cached_property
    def positives(self) -> dict[str, int]:
        """The number of test clips of each class; empty if it is not known."""
        r = self.record
        if r.positives or self.predictions is None:
            return r.positives
        labels = predictions.read_predictions(self.predictions).labels
        if labels.shape[1] != len(r.per_class):
            raise DamagedFile(
                f"{self.predictions}: has {labels.shape[1]} classes, and its record "
                f"{len(r.per_class)}: delete it, and run the same command again"
            )
        return dict(zip(r.per_class, labels.sum(0, dtype=int).tolist(), strict=True))

    @functools.cached_property
    def chance(self) -> dict[str, float]:
        """The share of positives of each class among what is scored, where known."""
        if self.record.chance or self.predictions is None:
            return self.record.chance
        clips, _ = self.test_counts
        return {name: count / clips for name, count in self.positives.items()}

    @functools.cached_property
    def histories(self) -> tuple[dict[int, float | None], ...]:
        """For each trial of a search, validation scores by epoch.

        The tuple is empty if the trials were not saved.
        """
        key = {name: getattr(self.record, name) for name in KEY}
        # All seeds share the search of the first one.
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
class ResultCell:
    """The results of one probe with one encoder on one data set.

    Attributes:
        dataset: The data set's name in the report.
        encoder: The encoder's name in the report.
        probe: The probe's name in the report, with the options and the training that
            distinguish it from other rows of the same probe.
        training: How its training differs from the most common one; usually empty.
        files: The records, one per seed and fold. All seeds have the same folds.
    """

    dataset: str
    encoder: str
    probe: str
    training: str
    files: tuple[RecordFile, ...]

    @property
    def first(self) -> Record:
        """One of the records, for the properties that all of them share."""
        return self.files[0].record

    @property
    def prototypes(self) -> int | None:
        """The number of prototypes per class; None for probes without prototypes."""
        return names.prototypes_per_class(self.first)

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in ascending order."""
        return tuple(sorted({f.record.seed for f in self.files}))

    @functools.cached_property
    def folds(self) -> tuple[str, ...]:
        """The names of the protocols in alphabetical order."""
        return tuple(sorted({f.record.protocol for f in self.files}))

    @functools.cached_property
    def scores(self) -> Float[np.ndarray, " S"]:
        """Mean test score over folds, in points of 100; NaN for a diverged seed."""
        return np.asarray(
            [
                np.mean([100 * f.record.test for f in self.files if f.record.seed == s])
                for s in self.seeds
            ]
        )

    @property
    def mean(self) -> float:
        """The mean score over seeds; NaN if any seed diverged."""
        return float(self.scores.mean())

    @property
    def sd(self) -> float:
        """The standard deviation over seeds.

        It is zero for probes that are not trained, and NaN for a single seed or if a
        seed diverged.
        """
        if len(self.seeds) > 1:
            return float(self.scores.std(ddof=1))
        return 0.0 if self.first.learning_rate is None else np.nan

    @property
    def diverged_seeds(self) -> int:
        """How many seeds ended without a finite test score."""
        return int(np.sum(~np.isfinite(self.scores)))

    @property
    def has_diverged(self) -> bool:
        """Whether any seed ended without a finite test score."""
        return self.diverged_seeds > 0

    @property
    def never_started(self) -> int:
        """How many trainings never left their start."""
        return sum(f.record.never_started for f in self.files)

    def has_clips_of(self, other: ResultCell) -> bool:
        """Whether both were tested on the same folds and, as far as known, clips."""
        if self.folds != other.folds:
            return False
        clips = {f.record.protocol: f.test_digests for f in self.files}
        others = {f.record.protocol: f.test_digests for f in other.files}
        both = ((clips[fold], others[fold]) for fold in self.folds)
        return all(a is None or b is None or a[0] == b[0] for a, b in both)

    def has_predictions_of(self, other: ResultCell) -> bool:
        """Whether both have the same predictions for each seed and fold."""
        own, others = (
            {(f.record.seed, f.record.protocol): f.test_digests for f in cell.files}
            for cell in (self, other)
        )
        return own == others and None not in own.values()

    @property
    def search(self) -> list[dict[str, Any]]:
        """The trials of all folds. Seeds share the trials of their fold."""
        searches = {f.record.protocol: f.record.search for f in self.files}
        return [dict(trial) for search in searches.values() for trial in search]


@dataclass(frozen=True)
class ResultGrid:
    """All cells of a report, with names in the order of the paper.

    Attributes:
        cells: The cells, ordered by data set, probe and encoder.
        datasets: The names of the data sets.
        encoders: The names of the encoders.
        probes: The names of the probes.
        trainings: Short names of trainings, with how they differ from the most common
            one.
        conflicts: The number of trials that several runs contain with different
            scores. The first run counts.
        missing: The cells that failed or are unfinished.
    """

    cells: tuple[ResultCell, ...]
    datasets: tuple[str, ...]
    encoders: tuple[str, ...]
    probes: tuple[str, ...]
    trainings: Mapping[str, str] = field(default_factory=dict[str, str])
    conflicts: int = 0
    missing: tuple[Missing, ...] = ()

    @functools.cached_property
    def _missing(self) -> dict[tuple[str, str, str], Missing]:
        return {m.key: m for m in self.missing}

    @functools.cached_property
    def _index(self) -> dict[tuple[str, str, str], ResultCell]:
        return {(c.dataset, c.encoder, c.probe): c for c in self.cells}

    @functools.cached_property
    def _linear(self) -> dict[Hashable, ResultCell]:
        cells: dict[Hashable, ResultCell] = {}
        for cell in sorted(self.cells, key=lambda c: len(c.first.probe_options)):
            if cell.first.probe == "linear":
                cells.setdefault(_comparable(cell), cell)
        return cells

    def at(self, dataset: str, encoder: str, probe: str) -> ResultCell | None:
        """The cell with these names, or None if it was not run."""
        return self._index.get((dataset, encoder, probe))

    def no_score(self, dataset: str, encoder: str, probe: str) -> Field:
        """What a table shows in place of a cell: "failed", "unfinished" or a dash."""
        found = self._missing.get((dataset, encoder, probe))
        return NOT_RUN if found is None else Field(found.state)

    def linear_baseline(self, cell: ResultCell) -> ResultCell | None:
        """The linear probe that was trained like `cell`, on the same folds."""
        return self._linear.get(_comparable(cell))

    def of_dataset(self, dataset: str) -> list[ResultCell]:
        """The cells of a data set, ordered by probe and encoder."""
        return [c for c in self.cells if c.dataset == dataset]

    def metric(self, dataset: str) -> str:
        """The metric of a data set."""
        return self.of_dataset(dataset)[0].first.metric

    def not_run(self) -> list[tuple[str, str, str]]:
        """Data set, encoder and probe of the cells that the axes have and no run.

        Probes that were trained in an uncommon way are left out: nobody expects them
        everywhere.
        """
        common = [
            p
            for p in self.probes
            if any(c.probe == p and not c.training for c in self.cells)
        ]
        everything = itertools.product(self.datasets, self.encoders, common)
        return [
            k for k in everything if k not in self._index and k not in self._missing
        ]

    @property
    def records(self) -> list[Record]:
        """The records of all cells."""
        return [f.record for c in self.cells for f in c.files]


def searched(cells: Iterable[ResultCell]) -> str:
    """Where the searches behind some cells looked, as a sentence for a note."""
    text = in_words(f.record for cell in cells for f in cell.files)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _comparable(cell: ResultCell) -> Hashable:
    """A key that two cells must share for their probes to be comparable."""
    return cell.dataset, cell.encoder, cell.training, cell.folds
