"""Plots of a run: training curves, and average precision per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from unmute_jax.io import writing
from unmute_jax.results.record import Record

# The average precision of a class with fewer positive clips is mostly chance.
FEW_POSITIVES = 5
# Okabe and Ito's palette, which colour-blind readers can tell apart as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


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
    for colour, probe in zip(COLOURS * len(probes), probes, strict=False):
        runs = _runs([x for x in lines if x["probe"] == probe], chosen)
        for axis, name, scale in ((left, "loss", 1.0), (right, "validation", 100.0)):
            _draw(axis, runs, name, scale, colour, probe)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel=f"validation {records[0].metric} (%)")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    right.legend(frameon=False)
    figure.suptitle(f"{records[0].dataset} · {records[0].encoder}", fontsize=10)
    with writing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def per_class_bars(
    path: str | os.PathLike[str], records: Sequence[Record], probes: Sequence[str]
) -> None:
    """Plots the average precision of each class on the test split, per probe.

    Classes are ordered by the mean over probes; whiskers are the standard deviation
    over trainings. Behind each name is the number of positive test clips, and an
    asterisk if they are few. A black tick is the chance level, the share of positives.
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
    height = 0.8 / len(values)
    tall = 1.5 + 0.16 * len(names) * (1 + len(values))
    figure = Figure(figsize=(7, tall), layout="constrained")
    axis = figure.subplots()
    y = np.arange(len(names))
    for i, (colour, (probe, v)) in enumerate(
        zip(COLOURS * len(values), values.items(), strict=False)
    ):
        axis.barh(
            y + (i - (len(values) - 1) / 2) * height,
            100 * v.mean(0)[order],
            height,
            xerr=100 * v.std(0, ddof=1)[order] if len(v) > 1 else None,
            error_kw={"elinewidth": 0.7, "alpha": 0.6},
            color=colour,
            label=probe,
        )
    levels = [chance_levels(records).get(names[i], np.nan) for i in order]
    if np.isfinite(levels).any():
        axis.vlines(
            100 * np.asarray(levels), y - 0.45, y + 0.45, color="black", lw=1.2,
            label="chance",
        )  # fmt: skip
    counts = positives(records)
    axis.set_yticks(y, [_label(names[i], counts.get(names[i])) for i in order])
    legend = "\nin brackets: positive test clips" if counts else ""
    if any(counts.get(name, FEW_POSITIVES) < FEW_POSITIVES for name in names):
        legend += f"; *: fewer than {FEW_POSITIVES}, mostly chance"
    axis.invert_yaxis()
    label = f"average precision on the test split (%){legend}"
    axis.set(xlabel=label, xlim=(0, 100))
    axis.set_axisbelow(True)
    axis.grid(axis="x", alpha=0.3)
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(values) + 1,
        frameon=False,
    )
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
    plain = name.replace("_", " ")
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
    colour: str,
    label: str,
) -> None:
    runs = [r for r in runs if np.isfinite(r[name]).any()]
    if not runs:
        return
    for run in runs:
        axis.plot(run["epoch"], scale * run[name], color=colour, lw=0.6, alpha=0.4)
    mean = np.mean([r[name] for r in runs], axis=0)
    axis.plot(runs[0]["epoch"], scale * mean, color=colour, lw=2, label=label)
