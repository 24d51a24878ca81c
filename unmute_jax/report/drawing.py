"""What all pictures of a report share: size, colours, markers, and PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from unmute_jax.report.section import Picture
from unmute_jax.results.plots import COLOURS

# As many as share no factor with the colours: every pair of both comes up.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":")
# Inches of a panel, with its labels.
WIDTH, HEIGHT = 2.7, 2.2
MOST_COLUMNS = 4
# Inches of a row of the legend; for one there is room in any figure.
ROW = 0.18


def style(index: int) -> dict[str, Any]:
    """Colour, marker and line of the `index`-th of several: no two look the same."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index // len(COLOURS) % len(LINES)],
    }


def panels(
    titles: Sequence[str], *, shared: bool = False
) -> tuple[Figure, Iterator[Any]]:
    """A figure with a panel per title, four beside each other at most.

    Args:
        titles: Of the panels.
        shared: Whether all have the same limits.
    """
    columns = min(len(titles), MOST_COLUMNS)
    rows = math.ceil(len(titles) / columns)
    wide, high = max(columns * WIDTH, 5.0), rows * HEIGHT + 0.9
    figure = Figure(figsize=(wide, high), layout="constrained")
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
    """A logarithmic x axis over whole decades, with no label between them."""
    low, high = (math.log10(f(values)) for f in (min, max))
    axis.set_xscale("log")
    axis.set_xlim(10 ** math.floor(low - 0.05), 10 ** math.ceil(high + 0.05))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = ""
) -> None:
    """One for the whole figure, above its panels, which it takes no room from."""
    longest = max(map(len, labels), default=1)
    wide, high = figure.get_size_inches()
    columns = max(1, min(len(labels), int(wide / (0.45 + 0.075 * longest))))
    rows = math.ceil(len(labels) / columns)
    figure.set_size_inches(wide, high + ROW * max(0, rows - 1))
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
    """What stands in a legend for this style."""
    return Line2D([], [], ms=5, lw=1, **look)


def picture(name: str, alt: str, figure: Figure) -> Picture:
    """The figure as a PNG on white, which is readable beside dark text and light."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    return Picture(name=name, alt=alt, png=buffer.getvalue())


def short(text: str, most: int = 28) -> str:
    """Cut where it would not fit."""
    return text if len(text) <= most else text[: most - 1] + "…"
