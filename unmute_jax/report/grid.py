"""Records put in order: a cell for every data set, encoder and probe."""

from __future__ import annotations

import collections
import functools
import pathlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from unmute_jax import predictions
from unmute_jax.errors import InputError
from unmute_jax.report import names
from unmute_jax.results import KEY, Record, read_record

# Settings that make no other kind of training: what is trained, on what, and where.
_NO_RECIPE = (
    *("dataset", "data_dir", "encoder", "weights", "probes", "probe_options"),
    *("devices", "seeds", "seed", "dataset_options.test_fold", "tokens.batch_size"),
)


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
    """All cells, and their names in the paper's order."""

    cells: tuple[Cell, ...]
    datasets: tuple[str, ...]
    encoders: tuple[str, ...]
    probes: tuple[str, ...]

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


def find_records(folders: Sequence[pathlib.Path]) -> list[Found]:
    """Every `results/*.json` below the folders; the same trial twice counts once.

    Raises:
        InputError: No records, an unreadable one, or one trial with two scores.
    """
    found: dict[Hashable, Found] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the folder of a run")
        for path in sorted(folder.rglob("results/*.json")):
            new = Found(read_record(path), path)
            old = found.setdefault(tuple(getattr(new.record, k) for k in KEY), new)
            if old.record.test != new.record.test:
                raise InputError(
                    f"{old.path} and {path}: the same trial, with test scores "
                    f"{old.record.test:.4f} and {new.record.test:.4f}; leave one out"
                )
    if not found:
        raise InputError(
            f"no records (results/*.json) below {', '.join(map(str, folders))}: give "
            "folders of runs of experiments.train"
        )
    return list(found.values())


def make_grid(found: Sequence[Found]) -> Grid:
    """Cells of all records.

    Raises:
        InputError: A data set with two metrics.
    """
    _check_metrics(found)
    datasets = _labels(found, lambda r: r.dataset, lambda r: r.source)
    encoders = _labels(
        found, names.encoder_title, lambda r: r.encoder.removesuffix(", converted")
    )
    recipes = _recipes(found)
    grouped: dict[tuple[str, str, str, str], list[Found]] = {}
    for x, dataset, encoder, recipe in zip(
        found, datasets, encoders, recipes, strict=True
    ):
        probe = names.probe_title(x.record) + (f" [{recipe}]" if recipe else "")
        grouped.setdefault((dataset, encoder, probe, recipe), []).append(x)
    cells = [Cell(*key, _whole(group)) for key, group in grouped.items()]
    cells.sort(
        key=lambda c: (
            names.position(c.dataset, names.DATASETS),
            names.position(c.probe, names.PROBES),
            names.position(c.encoder, names.ENCODERS),
        )
    )

    def ordered(values: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(values), key=lambda v: names.position(v, order)))

    return Grid(
        cells=tuple(cells),
        datasets=ordered(datasets, names.DATASETS),
        encoders=ordered(encoders, names.ENCODERS),
        probes=ordered((c.probe for c in cells), names.PROBES),
    )


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `optimizer.b1`: value."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def _company(cell: Cell) -> Hashable:
    """What two probes must share to be compared."""
    return cell.dataset, cell.encoder, cell.recipe, cell.folds


def _check_metrics(found: Sequence[Found]) -> None:
    seen: dict[str, Found] = {}
    for x in found:
        first = seen.setdefault(x.record.dataset, x)
        if first.record.metric != x.record.metric:
            raise InputError(
                f"{x.record.dataset} is scored by {first.record.metric} in "
                f"{first.path} and by {x.record.metric} in {x.path}: make a report of "
                "each"
            )


def _labels(found: Sequence[Found], title: Any, detail: Any) -> list[str]:
    """Titles, with the detail where the same title stands for several things."""
    details: dict[str, set[str]] = {}
    for x in found:
        details.setdefault(title(x.record), set()).add(detail(x.record))
    return [
        t if len(details[t := title(x.record)]) == 1 else f"{t} ({detail(x.record)})"
        for x in found
    ]


def _recipes(found: Sequence[Found]) -> list[str]:
    """Per record, how its training differs from that of most others of its like.

    Only settings count that some probe was trained with two values of, on the same
    tokens: those would otherwise fall into one cell.
    """
    settings = [_recipe(x.record) for x in found]
    alike: dict[Hashable, list[int]] = {}
    for i, x in enumerate(found):
        r = x.record
        key = (r.dataset, r.source, r.encoder, names.probe_title(r))
        alike.setdefault(key, []).append(i)
    differing: dict[str, None] = {}
    for rows in alike.values():
        for key in dict.fromkeys(k for i in rows for k in settings[i]):
            if len({settings[i].get(key) for i in rows}) > 1:
                differing[key] = None
    chosen = [tuple((k, s.get(k)) for k in differing) for s in settings]
    usual = dict(collections.Counter(chosen).most_common(1)[0][0])
    return [
        ", ".join(f"{k}={v}" for k, v in own if v != usual[k]) or "" for own in chosen
    ]


def _recipe(record: Record) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in flat(record.settings).items()
        if key not in _NO_RECIPE and key.split(".")[0] not in _NO_RECIPE
    }


def _whole(found: list[Found]) -> tuple[Found, ...]:
    """Of a run that is not at its end: the seeds that have as many folds as any."""
    counts = collections.Counter(x.record.seed for x in found)
    most = max(counts.values())
    whole = [x for x in found if counts[x.record.seed] == most]
    return tuple(sorted(whole, key=lambda x: (x.record.seed, x.record.protocol)))
