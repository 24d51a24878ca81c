"""Finds the records of any number of runs, and puts them in order."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from unmute_jax.errors import InputError
from unmute_jax.report import names
from unmute_jax.report.grid import Cell, Found, Grid
from unmute_jax.results.record import KEY, Record, read_record

# Settings that make no other kind of training: what is trained, on what, and where.
_NO_RECIPE = (
    *("dataset", "data_dir", "encoder", "weights", "probes", "probe_options"),
    *("devices", "seeds", "seed", "dataset_options.test_fold", "tokens.batch_size"),
)

# Characters of a training's name in tables.
LONG = 30


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
    encoders = _labels(found, names.encoder_title, names.encoder_detail)
    recipes = _recipes(found)
    short = _short(recipes)
    # Runs that differ in what they also did (more seeds, other probes) share trials.
    grouped: dict[tuple[str, str, str, str], dict[Hashable, Found]] = {}
    twice = 0
    for x, dataset, encoder, recipe in zip(
        found, datasets, encoders, recipes, strict=True
    ):
        told = short.get(recipe, recipe)
        probe = names.probe_title(x.record) + (f" [{told}]" if told else "")
        group = grouped.setdefault((dataset, encoder, probe, recipe), {})
        first = group.setdefault((x.record.seed, x.record.protocol), x)
        twice += first.record.test != x.record.test
    cells = [Cell(*key, _whole([*g.values()])) for key, g in grouped.items()]
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
        trainings={letter: recipe for recipe, letter in short.items()},
        twice=twice,
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
    """Per record, how its training differs from that of most others; mostly "".

    Only settings count that some probe was trained with two values of, on the same
    tokens: those would otherwise fall into one cell. What an older version did not
    have yet is no difference.
    """
    settings = [_recipe(x.record) for x in found]
    alike: dict[Hashable, list[dict[str, str]]] = {}
    for x, mine in zip(found, settings, strict=True):
        r = x.record
        key = (r.dataset, r.source, r.encoder, names.probe_title(r))
        alike.setdefault(key, []).append(mine)
    values: dict[tuple[int, str], set[str]] = {}
    for number, group in enumerate(alike.values()):
        for key, value in (pair for mine in group for pair in mine.items()):
            values.setdefault((number, key), set()).add(value)
    differing = dict.fromkeys(k for (_, k), seen in values.items() if len(seen) > 1)
    chosen = [tuple((k, s[k]) for k in differing if k in s) for s in settings]
    usual = dict(collections.Counter(chosen).most_common(1)[0][0])
    return [
        ", ".join(f"{k}={v}" for k, v in own if v != usual.get(k, v)) for own in chosen
    ]


def _short(recipes: Sequence[str]) -> dict[str, str]:
    """A letter for each that is too long for a table."""
    long = [r for r in dict.fromkeys(recipes) if len(r) > LONG]
    return {r: f"training {chr(ord('B') + k)}" for k, r in enumerate(long)}


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
