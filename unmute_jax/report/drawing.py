"""The common style of all pictures in a report: sizes, colours and markers."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from unmute_jax.report.page import Picture
from unmute_jax.results.plots import COLOURS

# Eight markers and seven colours share no factor, so that every pair of them occurs.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":")
# The size of a panel with its labels, in inches.
WIDTH, HEIGHT = 2.7, 2.2
MOST_COLUMNS = 4
# The height of a row of the legend in inches. Every figure has room for one row.
LEGEND_ROW = 0.18


def style(index: int) -> dict[str, Any]:
    """The colour, marker and line of the series number `index`; all are different."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


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
    return figure, iter(axes[: len(titles)])


def log_scale(axis: Any, values: Sequence[float]) -> None:
    """Sets a logarithmic x axis over whole decades, with labels at the decades only."""
    low, high = (math.log10(f(values)) for f in (min, max))
    axis.set_xscale("log")
    axis.set_xlim(10 ** math.floor(low - 0.05), 10 ** math.ceil(high + 0.05))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = ""
) -> None:
    """Adds a legend above the panels, and makes the figure taller to fit it."""
    longest = max(map(len, labels), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(labels), int(width / (0.45 + 0.075 * longest))))
    rows = math.ceil(len(labels) / columns)
    figure.set_size_inches(width, height + LEGEND_ROW * max(0, rows - 1))
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=columns,
        frameon=False,
        fontsize=8,
        title=title or None,
        title_fontsize=9,
    )


def handle(look: dict[str, Any]) -> Line2D:
    """The handle of a style in a legend."""
    return Line2D([], [], ms=5, lw=1, **look)


def picture(name: str, alt: str, figure: Figure) -> Picture:
    """Renders a figure as PNG on white, which suits light and dark pages."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return Picture(name=name, alt=alt, png=buffer.getvalue())


def shorten(text: str, length: int = 28) -> str:
    """Cuts a text that is longer than `length`, and marks the cut."""
    return text if len(text) <= length else text[: length - 1] + "…"
