"""How sensitive each score is to the learning rate, from all trials of the search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from unmute_jax.datasets.tables import csv_text
from unmute_jax.report import drawing
from unmute_jax.report.common import common_items
from unmute_jax.report.names import slug
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultCell, ResultGrid, searched
from unmute_jax.report.statistics import (
    FACTORS,
    Sensitivity,
    sensitivity,
    status,
    validation,
)
from unmute_jax.report.tables import UNKNOWN, Field, Table, number
from unmute_jax.results import looks
from unmute_jax.results.ranges import ranges_of

COLUMNS = (
    *("dataset", "encoder", "probe", "protocol", "learning_rate", "weight_decay"),
    *("validation", "status", "epochs", "chosen"),
)


TITLE = "Sensitivity to the learning rate"


def section(grid: ResultGrid) -> Section:
    """Draws all trials, and tabulates what a wrong rate costs per probe and cell."""
    measured = [(cell, s) for cell in grid.cells if (s := of_cell(cell)) is not None]
    if not measured:
        return Section(
            name="rates",
            title=TITLE,
            paragraphs=("No record here lists more than one learning rate.",),
        )
    return Section(
        name="rates",
        title=TITLE,
        paragraphs=(
            "Every learning rate that was tried, with its score on the validation "
            "split. Filled markers are trials that finished, hollow markers are trials "
            "that were stopped early, crosses at the bottom are trials that diverged, "
            "and a ring marks the rate that was chosen.",
            "What a wrong rate costs: the best validation score minus that of the best "
            "trial whose rate is within a factor of √3 of three times (ten times) the "
            "best rate; the same for a third (a tenth) of it; and the mean of both, as "
            "far as such rates were tried, in points of 100. A trial that diverged "
            "scores zero here. A trial that was stopped counts as if its distance to "
            "the best trial had stayed the same since that epoch. As the best trial is "
            "the best of several noisy ones, losses are never negative. Searches of "
            "several folds are averaged.",
        ),
        pictures=tuple(p for d in grid.datasets if (p := _picture(grid, d))),
        tables=(_per_probe(grid, measured), _per_cell(measured)),
    )


def as_csv(grid: ResultGrid) -> str:
    """Formats every trial of every search as CSV."""
    lines: list[tuple[object, ...]] = []
    for cell in grid.cells:
        records = {f.record.protocol: f.record for f in reversed(cell.files)}
        for protocol, r in sorted(records.items()):
            for t in r.search:
                if "learning_rate" not in t:
                    continue
                rate, decay = t["learning_rate"], t.get("weight_decay", r.weight_decay)
                is_chosen = (rate, decay) == (r.learning_rate, r.weight_decay)
                lines.append(
                    (
                        *(cell.dataset, cell.encoder, cell.probe, protocol),
                        *(rate, decay, t.get("validation"), status(t)),
                        *(t.get("epochs"), "yes" if is_chosen else "no"),
                    )
                )
    return csv_text([COLUMNS, *lines])


def of_cell(cell: ResultCell) -> Sensitivity | None:
    """The sensitivity of a cell, averaged over the searches of its folds."""
    folds = {f.record.protocol: f for f in cell.files}.values()
    searches = [
        sensitivity(
            f.record.search, f.histories, ranges_of(f.record).get("learning_rate")
        )
        for f in folds
    ]
    known = [s for s in searches if s is not None]
    if not known:
        return None
    return Sensitivity(
        best=float(scipy.stats.gmean([s.best for s in known])),
        loss={f: _mean([s.loss[f] for s in known]) for f in FACTORS},
        at_edge=any(s.at_edge for s in known),
        diverged=_mean([s.diverged for s in known]),
        stopped=_mean([s.stopped for s in known]),
        trials=sum(s.trials for s in known),
    )


def _per_probe(
    grid: ResultGrid, measured: Sequence[tuple[ResultCell, Sensitivity]]
) -> Table:
    places = list(dict.fromkeys((c.dataset, c.encoder) for c, _ in measured))
    places_of = {
        p: {(c.dataset, c.encoder) for c, _ in measured if c.probe == p}
        for p in grid.probes
    }
    shared = common_items(places_of, places)
    rows = []
    for probe in grid.probes:
        if not set(shared) <= places_of[probe]:
            continue
        cells = [
            s
            for c, s in measured
            if c.probe == probe and (c.dataset, c.encoder) in shared
        ]
        best = [s.best for s in cells]
        rows.append(
            (
                probe,
                number(len(cells), 0),
                *(_losses([s.loss[f] for s in cells]) for f in FACTORS),
                Field(
                    f"{min(best):.2g}"
                    if min(best) == max(best)
                    else f"{min(best):.2g} to {max(best):.2g}",
                    float(np.median(best)),
                ),
                number(sum(s.at_edge for s in cells), 0),
                number(100 * _mean([s.diverged for s in cells]), 1),
                number(100 * _mean([s.stopped for s in cells]), 1),
            )
        )
    return Table(
        name="rates-per-probe",
        title="Points of validation score lost by a wrong learning rate",
        columns=(
            *("probe", "cells", *(f"wrong by ×{f}" for f in FACTORS), "best rates"),
            *("best at the edge", "diverged, %", "stopped, %"),
        ),
        rows=tuple(rows),
        note="Means over the cells (an encoder on a data set) that all of these probes "
        "have; the worst cell is in small print. n/a: no trial had such a rate. A best "
        "rate at the edge, in the outermost 5 % of the range that was searched (on a "
        "logarithmic scale), may not be the best possible one. "
        f"{searched(grid.cells)}",
    )


def _losses(values: list[float]) -> Field:
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return UNKNOWN
    mean = float(np.mean(known))
    return Field(f"{mean:.2f}", mean, f"worst {max(known):.2f}")


def _per_cell(measured: Sequence[tuple[ResultCell, Sensitivity]]) -> Table:
    return Table(
        name="rates-per-cell",
        title="Points of validation score lost by a wrong learning rate, per cell",
        columns=(
            *("data set", "encoder", "probe", "best rate"),
            *(f"wrong by ×{f}" for f in FACTORS),
            *("trials", "at the edge"),
        ),
        rows=tuple(
            (
                *(cell.dataset, cell.encoder, cell.probe),
                Field(f"{s.best:.2g}", s.best),
                *(number(s.loss[f]) for f in FACTORS),
                *(number(s.trials, 0), "yes" if s.at_edge else "no"),
            )
            for cell, s in measured
        ),
    )


def _picture(grid: ResultGrid, dataset: str) -> Picture | None:
    cells = [c for c in grid.of_dataset(dataset) if c.search and c.first.learning_rate]
    if not cells:
        return None
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    styles = drawing.encoder_looks(grid.encoders)
    styles = {e: s for e, s in styles.items() if any(c.encoder == e for c in cells)}
    titles = [looks.shorten(p, 34) for p in probes]
    rates = [float(t["learning_rate"]) for c in cells for t in c.search]
    figure, axes = drawing.panels(titles, shared=True)
    for axis, probe in zip(axes, probes, strict=True):
        for cell in cells:
            if cell.probe == probe:
                _draw_trials(axis, cell, styles[cell.encoder])
        drawing.log_scale(axis, rates)
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel(f"validation {grid.metric(dataset)}", fontsize=9)
    handles = [looks.handle(style) for style in styles.values()]
    labels = [looks.shorten(encoder) for encoder in styles]
    looks.legend(figure, handles, labels, looks.shorten(dataset))
    alt = f"Validation score by learning rate on {dataset}, with a panel per probe"
    return drawing.picture(f"rates_{slug(dataset)}", alt, figure)


def _draw_trials(axis: Any, cell: ResultCell, look: dict[str, Any]) -> None:
    trials = cell.search
    points = {kind: [] for kind in ("finished", "stopped", "diverged")}
    for t in trials:
        points[status(t)].append((float(t["learning_rate"]), validation(t)))
    dots = look | {"linestyle": "none", "ms": 4, "alpha": 0.85}
    axis.plot(*_columns(points["finished"]), **dots)
    axis.plot(*_columns(points["stopped"]), **dots, mfc="none")
    # At the bottom of the panel, whatever its limits are.
    axis.plot(
        [x for x, _ in points["diverged"]],
        [0.03] * len(points["diverged"]),
        **dots | {"marker": "x"},
        transform=axis.get_xaxis_transform(),
    )
    decays = {t.get("weight_decay") for t in trials}
    if len(decays) == 1:
        rates = sorted({x for x, _ in points["finished"]})
        means = [np.mean([y for z, y in points["finished"] if z == x]) for x in rates]
        axis.plot(rates, means, lw=1, **look | {"marker": ""})
    for chosen in {f.record.learning_rate for f in cell.files}:
        scores = [y for x, y in points["finished"] if x == chosen]
        if scores:
            ring = {"marker": "o", "ms": 9, "mfc": "none", "color": look["color"]}
            axis.plot(chosen, max(scores), linestyle="none", **ring)


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN if there is none."""
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")
