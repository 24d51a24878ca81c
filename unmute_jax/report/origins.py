"""How the numbers were made: settings, data, weights, versions and notes."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from unmute_jax.report.gather import flatten
from unmute_jax.report.names import has_published_weights
from unmute_jax.report.page import Section
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.report.tables import Table, counted
from unmute_jax.results.tables import notes_of

# Settings that other tables show, and those that do not change any number.
_NOT_LISTED = (
    *("dataset", "data_dir", "encoder", "weights", "probes", "devices"),
    "audio.on_bad",
)
# The settings that most readers look for come first.
_FIRST = (
    *("labels", "loss", "epochs", "batch_size", "report_epoch", "refit", "seeds"),
    *("optimizer", "standardise", "tokens", "frontend", "probe_options"),
)


def section(grid: ResultGrid) -> Section:
    """Tabulates settings, data sets, encoders, versions and notes."""
    paragraphs = (
        "These tables come from the records. A setting that is not set has the default "
        "of the probe, the encoder or the data set that it belongs to. What the paper "
        "leaves open (constants of the loss, validation splits, variants of probes, "
        "which epoch is reported) is a setting here and is listed below; whether the "
        "paper did the same is not known.",
    )
    if grid.conflicts:
        paragraphs = (
            *paragraphs,
            f"{counted(grid.conflicts, 'trial')} occurred in several runs with "
            "different scores (from another device, for example). The first run that "
            "was given counts.",
        )
    tables = [_settings(grid), _datasets(grid), _encoders(grid), _versions(grid)]
    if grid.trainings:
        tables.insert(0, _trainings(grid))
    if (notes := _notes(grid)).rows:
        tables.append(notes)
    return Section(
        name="origins",
        title="How these numbers were made",
        paragraphs=paragraphs,
        tables=tuple(tables),
    )


def _settings(grid: ResultGrid) -> Table:
    """Lists every setting with its values, and how many cells have each value."""
    values: dict[str, collections.Counter[str]] = {}
    for cell in grid.cells:
        for key, value in flatten(cell.first.settings).items():
            if key not in _NOT_LISTED:
                values.setdefault(key, collections.Counter())[_format(value)] += 1
    unset = _format(None)
    if "frames" not in values.get("labels", ()):
        values = {k: v for k, v in values.items() if not k.startswith("frames.")}
    shown = {k: v for k, v in values.items() if list(v) != [unset]}
    order = sorted(shown, key=_position)
    rows = tuple(
        (
            key,
            "; ".join(
                value if len(shown[key]) == 1 else f"{value} ({counted(count, 'cell')})"
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
        note=f"{counted(len(values) - len(shown), 'other setting')} had the default "
        "value.",
    )


def _trainings(grid: ResultGrid) -> Table:
    return Table(
        name="trainings",
        title="Trainings that differ from the most common one",
        columns=("name", "differences"),
        rows=tuple(grid.trainings.items()),
    )


def _datasets(grid: ResultGrid) -> Table:
    rows = []
    for dataset in grid.datasets:
        cells = grid.of_dataset(dataset)
        records = [f.record for c in cells for f in c.files]
        # With folds, each record has some of the splits; together they have all.
        clips = {k: v for r in records for k, v in r.facts.get("clips", {}).items()}
        rows.append(
            (
                dataset,
                _join(r.source for r in records),
                grid.metric(dataset),
                _join(str(len(r.per_class)) for r in records),
                _join(r.protocol for r in records),
                ", ".join(f"{split} {n:,}" for split, n in sorted(clips.items())),
            )
        )
    return Table(
        name="datasets",
        title="Data sets",
        columns=("data set", "source", "metric", "classes", "protocols", "clips"),
        rows=tuple(rows),
    )


def _encoders(grid: ResultGrid) -> Table:
    rows = []
    for encoder in grid.encoders:
        cells = [c for c in grid.cells if c.encoder == encoder]
        records = [c.first for c in cells]
        identity = [r.facts.get("encoder", {}) for r in records]
        published = {has_published_weights(r) for r in records}
        rows.append(
            (
                encoder,
                _join(r.encoder for r in records),
                _join(_shorten(str(i.get("weights", "unknown"))) for i in identity),
                "yes" if published == {True} else "no",
                _join(_format(i.get("input")) for i in identity),
                _join(str(i.get("precision", "unknown")) for i in identity),
            )
        )
    return Table(
        name="encoders",
        title="Encoders",
        columns=(
            *("encoder", "weights", "fingerprint", "published weights"),
            *("input constants", "precision"),
        ),
        rows=tuple(rows),
        note="Published weights are the default weights of an encoder, recognised by "
        "their location, file name or SHA-256 checksum. Only results with these "
        "weights are compared with the paper.",
    )


def _versions(grid: ResultGrid) -> Table:
    counted: dict[str, collections.Counter[str]] = {}
    for r in grid.records:
        versions = r.facts.get("versions", {})
        for name, version in {**versions, "devices": r.facts.get("devices")}.items():
            counted.setdefault(name, collections.Counter())[str(version)] += 1
    return Table(
        name="versions",
        title="Versions and devices",
        columns=("name", "version"),
        rows=tuple((name, "; ".join(c)) for name, c in counted.items()),
    )


def _notes(grid: ResultGrid) -> Table:
    """Lists every note with the cells that have it."""
    cells_of: dict[str, list[ResultCell]] = {}
    for cell in grid.cells:
        for note in notes_of([f.record for f in cell.files]):
            cells_of.setdefault(note, []).append(cell)
    return Table(
        name="notes",
        title="Notes",
        columns=("note", "applies to"),
        rows=tuple((note, _where(grid, cells)) for note, cells in cells_of.items()),
    )


def _where(grid: ResultGrid, cells: list[ResultCell]) -> str:
    datasets = dict.fromkeys(c.dataset for c in cells)
    encoders = dict.fromkeys(c.encoder for c in cells)
    text = ", ".join(datasets)
    everywhere = {c.encoder for c in grid.cells if c.dataset in datasets}
    return text if set(encoders) == everywhere else f"{text}: {', '.join(encoders)}"


def _position(key: str) -> tuple[int, str]:
    head = key.split(".")[0]
    return (_FIRST.index(head) if head in _FIRST else len(_FIRST), key)


def _format(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_format(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_format, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shorten(identity: str) -> str:
    """Cuts a checksum to its first digits."""
    return identity[:19] if identity.startswith("sha256:") else identity


def _join(values: Iterable[str], most: int = 6) -> str:
    """Joins the different values; of more than `most`, only their number is given."""
    unique = list(dict.fromkeys(v for v in values if v))
    more = [f"{len(unique) - most} more"] if len(unique) > most else []
    return "; ".join([*unique[:most], *more])


def summary(grid: ResultGrid) -> str:
    """Counts records, cells, data sets, encoders, probes and seeds in a sentence."""
    counts = {
        "record": len(grid.records),
        "cell": len(grid.cells),
        "data set": len(grid.datasets),
        "encoder": len(grid.encoders),
        "probe": len(grid.probes),
        "seed": len({r.seed for r in grid.records}),
    }
    text = ", ".join(counted(n, noun) for noun, n in counts.items())
    for state in ("failed", "unfinished"):
        if lost := sum(m.state == state for m in grid.missing):
            text += f"; {counted(lost, 'cell')} {state}"
    return text
