"""Draws how far the scores of windows agree with the share that is annotated."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from unmute_jax.metrics.decisions import Calibration
from unmute_jax.results.looks import COLOURS, shorten


def calibration_png(calibration: Calibration, title: str) -> bytes:
    """Draws a reliability diagram, with the number of scores in each bin below it.

    Args:
        calibration: The scores in bins, beside the share of true ones.
        title: The title of the picture.

    Returns:
        The content of a PNG file.
    """
    figure = Figure(figsize=(5.5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    edges, counts = calibration.edges, calibration.counts
    upper.plot(
        [0, 1], [0, 1], color="0.6", lw=1, ls="--", label="scores as probabilities"
    )
    there = counts > 0
    upper.plot(
        calibration.mean_scores[there],
        calibration.true_shares[there],
        color=COLOURS[0],
        marker="o",
        label="a tenth of the scores' range",
    )
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is annotated")
    upper.legend(frameon=False, loc="upper left", fontsize=9)
    bars = lower.bar(
        edges[:-1], counts, np.diff(edges), align="edge", color=COLOURS[5], ec="w"
    )
    lower.bar_label(bars, [f"{n:,}" if n else "" for n in counts], fontsize=7)
    # Most windows have few of the classes, so the lowest bin is by far the fullest.
    lower.set(yscale="log", ylim=(0.8, 8 * max(counts.max(), 1)))
    lower.set(xlabel="score", ylabel="windows x classes")
    for axis in (upper, lower):
        axis.set_axisbelow(True)
        axis.grid(alpha=0.3)
    figure.suptitle(shorten(title, 200), fontsize=10)
    png = io.BytesIO()
    figure.savefig(png, dpi=110)
    return png.getvalue()
