"""Writes the records of a report as one plain table, with a row for each record."""

from __future__ import annotations

import json

from unmute_jax.datasets.tables import csv_text
from unmute_jax.report.names import has_published_weights
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.results.record import Record, finite

COLUMNS = (
    *("record", "dataset", "source", "encoder", "encoder_description"),
    *("published_weights", "probe", "probe_options", "training", "protocol", "seed"),
    *("metric", "test", "validation", "learning_rate", "weight_decay", "epoch"),
    *("steps", "parameters", "seconds", "never_started", "classes_without_positives"),
    *("train_clips", "validation_clips", "test_clips", "devices", "versions"),
    *("experiment", "notes"),
)


def as_csv(grid: ResultGrid) -> str:
    """Formats the records of all cells as CSV.

    Scores lie between 0 and 1 and are not rounded. An empty score is that of a training
    that diverged. Other scores, such as those of events, have columns of their own.
    """
    others = tuple(dict.fromkeys(k for r in grid.records for k in r.more))
    rows = [
        (*_row(cell, file.record), *(_score(file.record, k) for k in others))
        for cell in grid.cells
        for file in cell.files
    ]
    return csv_text([(*COLUMNS, *others), *rows])


def _row(cell: ResultCell, r: Record) -> tuple[object, ...]:
    clips, versions = r.facts.get("clips", {}), r.facts.get("versions", {})
    return (
        *(r.file_name(), cell.dataset, r.source, cell.encoder, r.encoder),
        "yes" if has_published_weights(r) else "no",
        *(r.probe, json.dumps(r.probe_options, sort_keys=True)),
        *(cell.training, r.protocol, r.seed, r.metric),
        *(finite(r.test), finite(r.validation), r.learning_rate, r.weight_decay),
        *(r.epoch, r.steps or None, r.parameters, round(r.seconds, 2)),
        *("yes" if r.never_started else "no", r.masked_classes),
        *(clips.get(split) for split in ("train", "validation", "test")),
        *(r.facts.get("devices"), json.dumps(versions, sort_keys=True)),
        *(r.experiment, " ".join(r.notes)),
    )


def _score(r: Record, name: str) -> float | None:
    return finite(r.more[name]) if name in r.more else None
