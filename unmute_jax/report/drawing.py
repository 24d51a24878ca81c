"""The common style of all pictures in a report: panels, scales, rows and dots."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from unmute_jax.report.page import Picture
from unmute_jax.results import looks

# How the markers of variants of one probe are filled, in this order.
FILLS = ("full", "none", "left", "bottom", "right", "top")
# The size of a panel with its labels, in inches.
WIDTH, HEIGHT = 2.7, 2.2
# The height of a labelled row in inches, and the most rows of one picture.
ROW = 0.19
MOST_COLUMNS = 4


def probe_looks(probes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The colour, marker and filling of each probe in a report.

    Colour and marker depend on nothing but the name of the probe. Variants of a probe,
    such as those with other options, differ in how the marker is filled.

    Args:
        probes: The titles of all probes of the report: a name, and what differs from
            the defaults.
    """
    found: dict[str, dict[str, Any]] = {}
    seen: dict[str, int] = {}
    for title in probes:
        name = title.split(" ")[0]
        variant = seen[name] = seen.get(name, -1) + 1
        fill = {"fillstyle": FILLS[variant % len(FILLS)], "markerfacecoloralt": "white"}
        found[title] = looks.probe_look(name) | fill
    return found


def panels(
    titles: Sequence[str], *, shared: bool = False
) -> tuple[Figure, Iterator[Any]]:
    """Makes a figure with a panel per title, in at most four columns.

    Args:
        titles: The titles of the panels.
        shared: Whether all panels have the same limits.

    Returns:
        The figure, and its axes in the order of the titles.
    """
    columns = min(len(titles), MOST_COLUMNS)
    rows = math.ceil(len(titles) / columns)
    width, height = max(columns * WIDTH, 5.0), rows * HEIGHT + 0.9
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(
        rows, columns, squeeze=False, sharex=shared, sharey=shared
    ).flat
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=9)
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=8)
    for axis in axes[len(titles) :]:
        axis.set_axis_off()
    # Matplotlib labels the shared axes of the last row alone, which may be empty.
    for axis in axes[max(0, len(titles) - columns) : len(titles)]:
        axis.tick_params(labelbottom=True)
    return figure, iter(axes[: len(titles)])


def log_scale(axis: Any, values: Sequence[float]) -> None:
    """Sets a logarithmic x axis over whole decades, with labels at the decades only."""
    low, high = (math.log10(f(values)) for f in (min, max))
    axis.set_xscale("log")
    axis.set_xlim(10 ** math.floor(low - 0.05), 10 ** math.ceil(high + 0.05))
    axis.xaxis.set_minor_formatter(NullFormatter())


def encoder_looks(encoders: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The colour and marker of each encoder of a report, given all of them."""
    return {encoder: looks.look(i) for i, encoder in enumerate(encoders)}


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A value with its interval, in a row of a picture.

    Attributes:
        value: The value.
        low: The lower end of the interval; NaN if it is not known.
        high: The upper end.
    """

    value: float
    low: float
    high: float


def rows_of_dots(
    dots: Mapping[str, Mapping[str, Dot]],
    styles: Mapping[str, dict[str, Any]],
) -> tuple[Figure, list[Any]]:
    """Draws a panel with one labelled row per dot for each group of dots.

    Args:
        dots: The dots of each panel, by the label of their row.
        styles: The colour and marker of each label, in the order of the rows.

    Returns:
        The figure and its axes, which share their scale.
    """
    labels = [x for x in styles if any(x in panel for panel in dots.values())]
    figure, axes = panels([looks.shorten(title, 34) for title in dots], shared=True)
    axes = list(axes)
    width, height = figure.get_size_inches()
    rows = math.ceil(len(dots) / MOST_COLUMNS)
    height += rows * (0.4 + ROW * len(labels) - HEIGHT)
    figure.set_size_inches(width + 0.9, height)
    for axis, panel in zip(axes, dots.values(), strict=True):
        for y, label in enumerate(labels):
            if (dot := panel.get(label)) is not None:
                ends = np.nan_to_num([[dot.value - dot.low], [dot.high - dot.value]])
                axis.errorbar(
                    dot.value, y, xerr=ends.clip(0), ms=5, elinewidth=1, **styles[label]
                )
        axis.set_yticks(range(len(labels)), map(looks.shorten, labels))
        axis.set_ylim(len(labels) - 0.5, -0.5)
    return figure, axes


def picture(name: str, alt: str, figure: Figure) -> Picture:
    """Renders a figure as PNG on white, which suits light and dark pages."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return Picture(name=name, alt=alt, png=buffer.getvalue())
