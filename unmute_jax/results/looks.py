"""Colours, markers and legends that all pictures of results share."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unmute_jax.errors import one_line

# Okabe and Ito's palette, which colour-blind readers can tell apart as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Eight markers and seven colours share no factor, so that every pair of them occurs.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PAIRS = len(COLOURS) * len(MARKERS)
# The order decides the colour and marker of each probe, so a new probe goes to the end.
# Those that are compared most often come first and differ in colour.
PROBES = (
    *("linear", "mhca", "protobin", "stats", "ep", "simpool", "proto"),
    *("mlp", "abmilp", "protofloat", "knn", "conv", "linearc", "linpre"),
    *("cgp", "linear_cgp", "head2toe", "cae", "cait", "coca", "esimpool"),
    *("jepa", "siglip"),
)
# The height of a row of a legend in inches. Every figure has room for one row.
LEGEND_ROW = 0.18


def look(index: int) -> dict[str, Any]:
    """The colour and marker of the series number `index`; 56 of them are different."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def probe_look(name: str) -> dict[str, Any]:
    """The colour and marker of a probe, which depend on nothing but its name.

    Args:
        name: The name of the probe, without options. A probe that is not in `PROBES`
            gets a look that none of these has.
    """
    if name in PROBES:
        return look(PROBES.index(name))
    return look(len(PROBES) + zlib.crc32(name.encode()) % (PAIRS - len(PROBES)))


def shorten(text: str, length: int = 28) -> str:
    """Cuts a name that is longer than `length`, for a picture, and marks the cut.

    Dollar signs are escaped, as two of them would start a formula. Characters that are
    not printed become spaces.
    """
    line = one_line(text, 4 * length)
    cut = line if len(line) <= length else line[: length - 1] + "…"
    return cut.replace("$", r"\$")


def handle(style: dict[str, Any]) -> Line2D:
    """The handle of a style in a legend."""
    return Line2D([], [], ms=5, lw=1, **style)


def legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], title: str = ""
) -> None:
    """Adds a legend above the panels, and makes the figure taller to fit it."""
    longest = max(map(len, labels), default=1)
    width, height = figure.get_size_inches()
    columns = max(1, min(len(labels), int(width / (0.45 + 0.075 * longest))))
    rows = -(-len(labels) // columns)
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
