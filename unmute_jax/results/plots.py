"""Plots of a run: training curves, and average precision per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unmute_jax.io import writing
from unmute_jax.results import looks
from unmute_jax.results.record import Record

# The average precision of a class with fewer positive clips is mostly chance.
FEW_POSITIVES = 5
# About so many epochs of a curve have a marker.
MARKED_EPOCHS = 8
# Longer names of classes are cut.
MOST_LETTERS = 40
# Of more classes, those with the highest and the lowest scores are drawn.
MOST_CLASSES = 100
HALF = MOST_CLASSES // 2


def training_curves(
    path: str | os.PathLike[str],
    lines: Sequence[dict[str, Any]],
    records: Sequence[Record],
    probes: Sequence[str],
) -> None:
    """Plots loss and validation score per epoch at the chosen rate of each probe.

    Thin lines are single trainings (seeds and folds), thick ones their mean.

    Args:
        path: The PNG file to write.
        lines: The lines of `metrics.jsonl`.
        records: The records of the run, which name the chosen learning rates.
        probes: Names of the probes, in the order of the legend.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    chosen = {(r.probe, r.protocol, r.learning_rate) for r in records}
    drawn = []
    for probe in probes:
        runs = _runs([x for x in lines if x["probe"] == probe], chosen)
        style = looks.probe_look(probe)
        for axis, name, scale in ((left, "loss", 1.0), (right, "validation", 100.0)):
            _draw(axis, runs, name, scale, style)
        drawn += [probe] if runs else []
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel=f"validation {records[0].metric} (%)")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    handles = [looks.handle(looks.probe_look(probe)) for probe in drawn]
    title = looks.shorten(f"{records[0].dataset} · {records[0].encoder}", 100)
    looks.legend(figure, handles, drawn, title)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def per_class_scores(
    path: str | os.PathLike[str], records: Sequence[Record], probes: Sequence[str]
) -> None:
    """Plots the average precision of each class on the test split, per probe.

    Classes are ordered by the mean over probes; bars are the standard deviation over
    trainings. Behind each name is the number of positive test clips, and an
    asterisk if they are few. A grey line is the chance level, the share of positives.
    Classes without positives and trainings that diverged are left out.

    Args:
        path: The PNG file to write.
        records: The records of the run.
        probes: Names of the probes, in the order of the legend.
    """
    # A training that diverged has no value for any class.
    records = [r for r in records if any(v is not None for v in r.per_class.values())]
    probes = [probe for probe in probes if any(r.probe == probe for r in records)]
    if not records:
        return
    names = [c for c, v in records[0].per_class.items() if v is not None]
    values = {
        probe: np.asarray(
            [[r.per_class[c] for c in names] for r in records if r.probe == probe],
            np.float64,
        )
        for probe in probes
    }
    means = np.stack([v.mean(0) for v in values.values()])
    order = np.argsort(-means.mean(0))
    if len(order) > MOST_CLASSES:
        order = np.concatenate([order[:HALF], order[-HALF:]])
    tall = 1.5 + 0.13 * len(order) * (1 + len(values))
    figure = Figure(figsize=(7, tall), layout="constrained")
    axis = figure.subplots()
    y = np.arange(len(order))
    # A row for each probe, and an empty one between two classes.
    offsets = (np.arange(len(values)) - (len(values) - 1) / 2) / (1 + len(values))
    for offset, (probe, v) in zip(offsets, values.items(), strict=True):
        axis.errorbar(
            100 * v.mean(0)[order],
            y + offset,
            xerr=100 * v.std(0, ddof=1)[order] if len(v) > 1 else None,
            **looks.probe_look(probe),
            linestyle="none",
            ms=5,
            elinewidth=0.8,
        )
    levels = [chance_levels(records).get(names[i], np.nan) for i in order]
    if np.isfinite(levels).any():
        axis.vlines(100 * np.asarray(levels), y - 0.45, y + 0.45, color="0.5", lw=1.2)
    counts = positives(records)
    axis.set_yticks(y, [_label(names[i], counts.get(names[i])) for i in order])
    legend = "\nin brackets: positive test clips" if counts else ""
    if any(counts.get(name, FEW_POSITIVES) < FEW_POSITIVES for name in names):
        legend += f"; *: fewer than {FEW_POSITIVES}, mostly chance"
    if len(order) < len(names):
        legend += f"\nthe {HALF} best and the {HALF} worst of {len(names)} classes"
    axis.set_ylim(len(order) - 0.5, -0.5)
    axis.hlines(y[1:] - 0.5, -2, 102, color="0.85", lw=0.8)
    label = f"average precision on the test split (%){legend}"
    axis.set(xlabel=label, xlim=(-1.5, 101.5))
    axis.set_axisbelow(True)
    axis.grid(axis="x", alpha=0.3)
    handles = [
        looks.handle(looks.probe_look(p) | {"linestyle": "none"}) for p in values
    ]
    chance = Line2D([], [], color="0.5", lw=1.2, ls="none", marker="|", ms=9)
    looks.legend(figure, [*handles, chance], [*values, "chance"])
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def positives(records: Sequence[Record]) -> dict[str, int]:
    """The number of positive test clips of each class, over all protocols.

    It is empty for records of older versions.
    """
    by_protocol = {r.protocol: r.positives for r in records}.values()
    names = dict.fromkeys(name for found in by_protocol for name in found)
    return {name: sum(found.get(name, 0) for found in by_protocol) for name in names}


def chance_levels(records: Sequence[Record]) -> dict[str, float]:
    """The average precision of a random order, as the mean over protocols."""
    by_protocol = {r.protocol: r.chance for r in records}.values()
    found: dict[str, list[float]] = {}
    for levels in by_protocol:
        for name, level in levels.items():
            found.setdefault(name, []).append(level)
    return {name: float(np.mean(levels)) for name, levels in found.items()}


def _label(name: str, count: int | None) -> str:
    """A class with the number of its positives, if it is known."""
    plain = looks.shorten(name.replace("_", " "), MOST_LETTERS)
    if count is None:
        return plain
    return f"{plain} ({count}{'*' * (count < FEW_POSITIVES)})"


def _runs(
    lines: list[dict[str, Any]], chosen: set[tuple[str, str, float | None]]
) -> list[dict[str, np.ndarray]]:
    """The curves at the chosen rates, one per training.

    The trials of a sweep are left out: their curves are in pieces, and the best of them
    is trained again with all seeds.
    """
    grouped: dict[tuple, list[dict[str, Any]]] = {}
    for line in lines:
        if line["stage"].startswith("search "):
            continue
        if (line["probe"], line["protocol"], line["learning_rate"]) in chosen:
            key = (line["protocol"], line["stage"], line["seed"])
            grouped.setdefault(key, []).append(line)
    names = ("epoch", "loss", "validation")
    # None, which stands where a trial diverged, becomes NaN.
    return [
        {n: np.asarray([x.get(n) for x in run], np.float64) for n in names}
        for run in grouped.values()
    ]


def _draw(
    axis: Any,
    runs: list[dict[str, np.ndarray]],
    name: str,
    scale: float,
    style: dict[str, Any],
) -> None:
    runs = [r for r in runs if np.isfinite(r[name]).any()]
    if not runs:
        return
    thin = style | {"marker": "", "lw": 0.6, "alpha": 0.4}
    for run in runs:
        axis.plot(run["epoch"], scale * run[name], **thin)
    mean = np.mean([r[name] for r in runs], axis=0)
    every = -(-len(mean) // MARKED_EPOCHS)
    axis.plot(runs[0]["epoch"], scale * mean, lw=2, ms=5, markevery=every, **style)
