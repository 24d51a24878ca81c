"""How much each score hangs on the learning rate: every trial was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.grid import Cell, Grid
from unmute_jax.report.names import slug
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import (
    FACTORS,
    Sensitivity,
    sensitivity,
    status,
    validation,
)
from unmute_jax.report.tables import Field, Table, csv_text, number

COLUMNS = (
    *("dataset", "encoder", "probe", "protocol", "learning_rate", "weight_decay"),
    *("validation", "status", "epochs", "chosen"),
)


def section(grid: Grid) -> Section:
    """Pictures of all trials; what a wrong rate costs, per probe and per cell."""
    found = [(cell, s) for cell in grid.cells if (s := of_cell(cell)) is not None]
    words = (
        "Every learning rate that was tried, with its score on the validation split: "
        "filled markers finished, hollow ones were stopped early, crosses at the foot "
        "diverged; the ring is the one that was chosen.",
        "What a wrong rate costs: the best validation score less that of the best "
        "trial whose rate is within a factor of √3 of three times (ten times) the "
        "best rate; and the same for a third (a tenth); the mean of both sides, as "
        "far as rates were tried there, in points of 100. A trial that diverged "
        "scores zero there; one that was stopped counts as if it had kept its distance "
        "to the best one at that epoch. The best trial is the best of noisy ones, so "
        "that losses are never negative. Searches of several folds are averaged.",
    )
    if not found:
        return Section(
            name="rates",
            title="How much scores hang on the learning rate",
            words=("No record here tells of more than one learning rate.",),
        )
    return Section(
        name="rates",
        title="How much scores hang on the learning rate",
        words=words,
        pictures=tuple(p for d in grid.datasets if (p := _picture(grid, d))),
        tables=(_per_probe(grid, found), _per_cell(found)),
    )


def as_csv(grid: Grid) -> str:
    """Every trial of every search."""
    lines: list[tuple[object, ...]] = []
    for cell in grid.cells:
        records = {f.record.protocol: f.record for f in reversed(cell.found)}
        for protocol, r in sorted(records.items()):
            for t in r.search:
                rate, decay = t["learning_rate"], t.get("weight_decay", r.weight_decay)
                is_chosen = (rate, decay) == (r.learning_rate, r.weight_decay)
                lines.append(
                    (
                        *(cell.dataset, cell.encoder, cell.probe, protocol),
                        *(rate, decay, t.get("validation"), status(t)),
                        *(t.get("epochs"), "yes" if is_chosen else "no"),
                    )
                )
    return csv_text(COLUMNS, lines)


def of_cell(cell: Cell) -> Sensitivity | None:
    """Of the searches of its folds, averaged."""
    folds = {f.record.protocol: f for f in cell.found}.values()
    tried = [sensitivity(f.record.search, f.histories) for f in folds]
    each = [s for s in tried if s is not None]
    if not each:
        return None
    return Sensitivity(
        best=float(np.exp(np.mean([np.log(s.best) for s in each]))),
        loss={f: _mean([s.loss[f] for s in each]) for f in FACTORS},
        at_edge=any(s.at_edge for s in each),
        diverged=_mean([s.diverged for s in each]),
        stopped=_mean([s.stopped for s in each]),
        trials=sum(s.trials for s in each),
    )


def _per_probe(grid: Grid, found: Sequence[tuple[Cell, Sensitivity]]) -> Table:
    rows = []
    for probe in grid.probes:
        mine = [s for cell, s in found if cell.probe == probe]
        if not mine:
            continue
        best = [s.best for s in mine]
        rows.append(
            (
                probe,
                number(len(mine), 0),
                *(_losses([s.loss[f] for s in mine]) for f in FACTORS),
                Field(
                    f"{min(best):.2g}"
                    if min(best) == max(best)
                    else f"{min(best):.2g} to {max(best):.2g}",
                    float(np.median(best)),
                ),
                number(sum(s.at_edge for s in mine), 0),
                number(100 * _mean([s.diverged for s in mine]), 1),
                number(100 * _mean([s.stopped for s in mine]), 1),
            )
        )
    return Table(
        name="rates-per-probe",
        title="Points of validation score lost where the learning rate is wrong",
        columns=(
            *("probe", "cells", *(f"by ×{f}" for f in FACTORS), "best rates"),
            *("best at the edge", "diverged, %", "stopped, %"),
        ),
        rows=tuple(rows),
        note="Means over cells (an encoder on a data set); in small, the worst cell. "
        "A best rate at the edge of those tried may not be the best there is.",
    )


def _losses(values: list[float]) -> Field:
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return Field("–")
    mean = float(np.mean(known))
    return Field(f"{mean:.2f}", mean, f"worst {max(known):.2f}")


def _per_cell(found: Sequence[tuple[Cell, Sensitivity]]) -> Table:
    return Table(
        name="rates-per-cell",
        title="The same, cell by cell",
        columns=(
            *("data set", "encoder", "probe", "best rate"),
            *(f"lost by ×{f}" for f in FACTORS),
            *("trials", "at the edge"),
        ),
        rows=tuple(
            (
                *(cell.dataset, cell.encoder, cell.probe),
                Field(f"{s.best:.2g}", s.best),
                *(number(s.loss[f]) for f in FACTORS),
                *(number(s.trials, 0), "yes" if s.at_edge else "no"),
            )
            for cell, s in found
        ),
    )


def _picture(grid: Grid, dataset: str) -> Picture | None:
    cells = [c for c in grid.of_dataset(dataset) if c.search and c.first.learning_rate]
    if not cells:
        return None
    probes = [p for p in grid.probes if any(c.probe == p for c in cells)]
    encoders = [e for e in grid.encoders if any(c.encoder == e for c in cells)]
    titles = [drawing.short(p, 34) for p in probes]
    rates = [float(t["learning_rate"]) for c in cells for t in c.search]
    figure, axes = drawing.panels(titles, shared=True)
    for axis, probe in zip(axes, probes, strict=True):
        for cell in cells:
            if cell.probe == probe:
                look = drawing.style(encoders.index(cell.encoder))
                _draw(axis, cell, look)
        drawing.log_scale(axis, rates)
    figure.supxlabel("learning rate", fontsize=9)
    figure.supylabel(f"validation {grid.metric(dataset)}", fontsize=9)
    handles = [drawing.handle(drawing.style(i)) for i in range(len(encoders))]
    drawing.legend(figure, handles, [drawing.short(e) for e in encoders], dataset)
    alt = f"Validation score against learning rate on {dataset}, a panel per probe"
    return drawing.picture(f"rates_{slug(dataset)}", alt, figure)


def _draw(axis: Any, cell: Cell, look: dict[str, Any]) -> None:
    trials = cell.search
    points = {kind: [] for kind in ("finished", "stopped", "diverged")}
    for t in trials:
        points[status(t)].append((float(t["learning_rate"]), validation(t)))
    dots = look | {"linestyle": "none", "ms": 4, "alpha": 0.85}
    axis.plot(*_columns(points["finished"]), **dots)
    axis.plot(*_columns(points["stopped"]), **dots, mfc="none")
    # At the foot of the panel, whatever its limits are.
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
    for chosen in {f.record.learning_rate for f in cell.found}:
        scores = [y for x, y in points["finished"] if x == chosen]
        if scores:
            ring = {"marker": "o", "ms": 9, "mfc": "none", "color": look["color"]}
            axis.plot(chosen, max(scores), linestyle="none", **ring)


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")
