"""The win matrix of the paper's Figure 5: how often one probe beats another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.statistics import wins
from unmute_jax.report.tables import NOT_RUN, Field, Table

TITLE = "Which probe wins"


def section(grid: ResultGrid) -> Section:
    """Makes the win matrix of all probes."""
    paragraphs = (
        "In how many configurations (an encoder on a data set) the probe of a row "
        "beats the probe of a column: its mean is higher by more than one standard "
        "deviation over seeds, the larger one of the two probes. Configurations with a "
        "smaller difference are not decided; the table shows shares of those that are. "
        "A probe that diverged loses to every probe that did not. Supervised encoders "
        "(+) are left out, as in the paper's Figure 5. Cells with a single seed have "
        "no standard deviation and decide nothing, except for probes that are not "
        "trained.",
    )
    won = _wins(grid)
    n = len(grid.probes)
    decided = won + won.T
    if n < 2 or not decided.any():
        return Section(
            name="wins",
            title=TITLE,
            paragraphs=(*paragraphs, "No configuration here decides between probes."),
        )
    share = np.divide(
        100.0 * won, decided, out=np.full((n, n), np.nan), where=decided > 0
    )

    def field(i: int, j: int) -> Field:
        if not decided[i, j]:
            return NOT_RUN
        counts = f"{won[i, j]} of {decided[i, j]}"
        return Field(f"{share[i, j]:.0f} %", float(share[i, j]), counts)

    table = Table(
        name="wins",
        title="Share of decided configurations in which the row beats the column",
        columns=("probe", *grid.probes),
        rows=tuple(
            (probe, *(field(i, j) for j in range(n)))
            for i, probe in enumerate(grid.probes)
        ),
        note="A dash means that no configuration is decided.",
    )
    return Section(
        name="wins",
        title=TITLE,
        paragraphs=paragraphs,
        pictures=(_heat_map(grid.probes, share),),
        tables=(table,),
    )


def _wins(grid: ResultGrid) -> np.ndarray:
    encoders = [e for e in grid.encoders if not e.split(" ")[0].endswith("+")]
    # Cells with other folds were tested on other clips.
    configurations = dict.fromkeys(
        (c.dataset, c.encoder, c.folds) for c in grid.cells if c.encoder in encoders
    )
    cells = [
        [
            c if (c := grid.at(d, e, p)) and c.folds == folds else None
            for d, e, folds in configurations
        ]
        for p in grid.probes
    ]
    means, sds = (
        np.asarray([[np.nan if c is None else f(c) for c in row] for row in cells])
        for f in (lambda c: c.mean, lambda c: c.sd)
    )
    diverged = [[c is not None and c.has_diverged for c in row] for row in cells]
    return wins(means, sds, np.asarray(diverged))


def _heat_map(names: Sequence[str], share: np.ndarray) -> Picture:
    n = len(names)
    figure, (axis, *_) = drawing.panels([""])
    figure.set_size_inches(2.2 + 0.52 * n, 1.9 + 0.42 * n)
    axis.grid(False)
    axis.imshow(share, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for i, j in itertools.product(range(n), range(n)):
        if np.isfinite(share[i, j]):
            colour = "white" if share[i, j] < 50 else "black"
            text = f"{share[i, j]:.0f}"
            axis.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    short = [drawing.shorten(p, 24) for p in names]
    axis.set_xticks(range(n), short, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(n), short, fontsize=8)
    axis.set_title("row beats column, % of decided", fontsize=9)
    alt = (
        "Win matrix: the share of decided configurations in which the row beats the "
        "column"
    )
    return drawing.picture("wins", alt, figure)
