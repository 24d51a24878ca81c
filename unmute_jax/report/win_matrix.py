"""Which probe wins: the win matrix of the paper's Figure 5."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from unmute_jax.report import drawing
from unmute_jax.report.grid import Grid
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import wins
from unmute_jax.report.tables import Field, Table


def section(grid: Grid) -> Section:
    """The win matrix of all probes."""
    words = (
        "In how many configurations (an encoder on a data set) the probe of the row "
        "beats that of the column: its mean is higher by more than one standard "
        "deviation over seeds, the larger of both. What differs by less is dropped; "
        "of the others the table has the share. Supervised encoders (+) are left "
        "out, as in the paper's Figure 5. Cells of a single seed have no spread and "
        "decide nothing, but for probes without chance in them.",
    )
    won = _wins(grid)
    n = len(grid.probes)
    decided = won + won.T
    if n < 2 or not decided.any():
        return Section(
            name="wins",
            title="Which probe wins",
            words=(*words, "Nothing is decided between any two probes here."),
        )
    share = np.divide(
        100.0 * won, decided, out=np.full((n, n), np.nan), where=decided > 0
    )

    def one(i: int, j: int) -> Field:
        if not decided[i, j]:
            return Field("–")
        told = f"{won[i, j]} of {decided[i, j]}"
        return Field(f"{share[i, j]:.0f} %", float(share[i, j]), told)

    table = Table(
        name="wins",
        title="Share of decided configurations in which the row beats the column",
        columns=("probe", *grid.probes),
        rows=tuple(
            (probe, *(one(i, j) for j in range(n)))
            for i, probe in enumerate(grid.probes)
        ),
    )
    return Section(
        name="wins",
        title="Which probe wins",
        words=words,
        pictures=(_heat(grid.probes, share),),
        tables=(table,),
    )


def _wins(grid: Grid) -> np.ndarray:
    encoders = [e for e in grid.encoders if not e.split(" ")[0].endswith("+")]
    # Cells of other folds are of other clips.
    configurations = dict.fromkeys(
        (c.dataset, c.encoder, c.folds) for c in grid.cells if c.encoder in encoders
    )
    found = [[(grid.at(d, e, p), f) for d, e, f in configurations] for p in grid.probes]
    cells = [[c if c and c.folds == f else None for c, f in row] for row in found]
    means, sds = (
        np.asarray([[np.nan if c is None else f(c) for c in row] for row in cells])
        for f in (lambda c: c.mean, lambda c: c.sd)
    )
    return wins(means, sds)


def _heat(names: Sequence[str], share: np.ndarray) -> Picture:
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
    short = [drawing.short(p, 24) for p in names]
    axis.set_xticks(range(n), short, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(n), short, fontsize=8)
    axis.set_title("row beats column, % of decided", fontsize=9)
    alt = "Win matrix: the share of decided configurations in which row beats column"
    return drawing.picture("wins", alt, figure)
