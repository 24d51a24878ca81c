"""How the numbers were made: settings, data, weights, notes."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from unmute_jax.report.gather import flat
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.names import has_published_weights
from unmute_jax.report.section import Section
from unmute_jax.report.tables import Table
from unmute_jax.results.tables import notes_of

# Settings with a table of their own, and those that change no number.
_ELSEWHERE = (
    *("dataset", "data_dir", "encoder", "weights", "probes", "devices"),
    "audio.on_bad",
)
# First those that every reader asks for.
_FIRST = (
    *("labels", "loss", "epochs", "batch_size", "report_epoch", "refit", "seeds"),
    *("optimizer", "standardise", "tokens", "frontend", "probe_options"),
)


def section(grid: Grid) -> Section:
    """What all records say of themselves, in tables."""
    words = (
        "From the records themselves. A setting that is not set has the default of "
        "the probe, the encoder or the data set it belongs to. What the paper leaves "
        "open (loss constants, validation splits, readings of probes, which epoch is "
        "reported) is a setting here and stands in these tables; whether the paper "
        "did the same is not known.",
    )
    if grid.twice:
        words = (
            *words,
            f"{_of(grid.twice, 'trial')} came up in several runs with different "
            "scores (of another device, for example); the first run that was named "
            "counts.",
        )
    tables = [_settings(grid), _datasets(grid), _encoders(grid), _versions(grid)]
    if grid.trainings:
        tables.insert(0, _trainings(grid))
    if (notes := _notes(grid)).rows:
        tables.append(notes)
    return Section(
        name="origins",
        title="How these numbers were made",
        words=words,
        tables=tuple(tables),
    )


def _settings(grid: Grid) -> Table:
    """Every setting with its values, and how many cells have each."""
    values: dict[str, collections.Counter[str]] = {}
    for cell in grid.cells:
        for key, value in flat(cell.first.settings).items():
            if key not in _ELSEWHERE:
                values.setdefault(key, collections.Counter())[_told(value)] += 1
    unset = _told(None)
    if "frames" not in values.get("labels", ()):
        values = {k: v for k, v in values.items() if not k.startswith("frames.")}
    shown = {k: v for k, v in values.items() if list(v) != [unset]}
    order = sorted(shown, key=_rank)
    rows = tuple(
        (
            key,
            "; ".join(
                value if len(shown[key]) == 1 else f"{value} ({_of(count, 'cell')})"
                for value, count in shown[key].most_common()
            ),
        )
        for key in order
    )
    return Table(
        name="settings",
        title="Settings of the trainings",
        columns=("setting", "value"),
        rows=rows,
        note=f"{len(values) - len(shown)} more settings were left at their defaults.",
    )


def _trainings(grid: Grid) -> Table:
    return Table(
        name="trainings",
        title="Trainings that differ from the usual one",
        columns=("name", "what differs"),
        rows=tuple(grid.trainings.items()),
    )


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _datasets(grid: Grid) -> Table:
    rows = []
    for dataset in grid.datasets:
        cells = grid.of_dataset(dataset)
        records = [f.record for c in cells for f in c.found]
        # Folds take turns, so that each record has a part of the same sizes.
        clips = {k: v for r in records for k, v in r.facts.get("clips", {}).items()}
        rows.append(
            (
                dataset,
                _all(r.source for r in records),
                grid.metric(dataset),
                _all(str(len(r.per_class)) for r in records),
                _all(r.protocol for r in records),
                ", ".join(f"{split} {n:,}" for split, n in sorted(clips.items())),
            )
        )
    return Table(
        name="datasets",
        title="Data sets",
        columns=("data set", "source", "metric", "classes", "protocols", "clips"),
        rows=tuple(rows),
    )


def _encoders(grid: Grid) -> Table:
    rows = []
    for encoder in grid.encoders:
        cells = [c for c in grid.cells if c.encoder == encoder]
        records = [c.first for c in cells]
        identity = [r.facts.get("encoder", {}) for r in records]
        published = {has_published_weights(r) for r in records}
        rows.append(
            (
                encoder,
                _all(r.encoder for r in records),
                _all(_short(str(i.get("weights", "not told"))) for i in identity),
                "yes" if published == {True} else "no",
                _all(_told(i.get("input")) for i in identity),
                _all(str(i.get("precision", "not told")) for i in identity),
            )
        )
    return Table(
        name="encoders",
        title="Encoders",
        columns=(
            *("encoder", "weights", "fingerprint", "published weights"),
            *("constants of the input", "precision"),
        ),
        rows=tuple(rows),
        note="Published weights: those that the name stands for by default, by their "
        "place, the name of their file or their SHA-256. Only beside them stand "
        "numbers of the paper.",
    )


def _versions(grid: Grid) -> Table:
    counted: dict[str, collections.Counter[str]] = {}
    for r in grid.records:
        versions = r.facts.get("versions", {})
        for name, version in {**versions, "devices": r.facts.get("devices")}.items():
            counted.setdefault(name, collections.Counter())[str(version)] += 1
    return Table(
        name="versions",
        title="Versions and devices",
        columns=("what", "version"),
        rows=tuple((name, "; ".join(c)) for name, c in counted.items()),
    )


def _notes(grid: Grid) -> Table:
    """Each note with the cells that carry it."""
    found: dict[str, list[Cell]] = {}
    for cell in grid.cells:
        for note in notes_of([f.record for f in cell.found]):
            found.setdefault(note, []).append(cell)
    return Table(
        name="notes",
        title="Notes",
        columns=("note", "of"),
        rows=tuple((note, _where(grid, cells)) for note, cells in found.items()),
    )


def _where(grid: Grid, cells: list[Cell]) -> str:
    datasets = dict.fromkeys(c.dataset for c in cells)
    encoders = dict.fromkeys(c.encoder for c in cells)
    told = ", ".join(datasets)
    everywhere = {c.encoder for c in grid.cells if c.dataset in datasets}
    return told if set(encoders) == everywhere else f"{told}: {', '.join(encoders)}"


def _rank(key: str) -> tuple[int, str]:
    head = key.split(".")[0]
    return (_FIRST.index(head) if head in _FIRST else len(_FIRST), key)


def _told(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_told(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(identity: str) -> str:
    return identity[:19] if identity.startswith("sha256:") else identity


def _all(values: Iterable[str], most: int = 6) -> str:
    found = list(dict.fromkeys(v for v in values if v))
    more = [f"{len(found) - most} more"] if len(found) > most else []
    return "; ".join([*found[:most], *more])


def summary(grid: Grid) -> str:
    """One sentence: how much there is."""
    counts = {
        "record": len(grid.records),
        "cell": len(grid.cells),
        "data set": len(grid.datasets),
        "encoder": len(grid.encoders),
        "probe": len(grid.probes),
        "seed": len({r.seed for r in grid.records}),
    }
    return ", ".join(_of(n, what) for what, n in counts.items())
