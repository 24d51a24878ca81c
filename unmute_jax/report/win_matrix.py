"""The win matrix of the paper's Figure 5: how often one probe beats another.

A second matrix counts wins by intervals of the difference on the same clips.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps

from unmute_jax.report import drawing
from unmute_jax.report.comparisons import Comparison
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.statistics import wins
from unmute_jax.report.tables import NOT_RUN, Field, Table
from unmute_jax.results import looks

TITLE = "Which probe wins"
# A share of fewer decided configurations is drawn paler.
ENOUGH = 5


def section(grid: ResultGrid, comparisons: Sequence[Comparison]) -> Section:
    """Makes the win matrices of all probes: by the paper's rule and by intervals.

    Args:
        grid: The cells.
        comparisons: The comparisons that `comparisons.compare` returns.
    """
    paragraphs = (
        "In how many configurations (an encoder on a data set) the probe of a row "
        "beats the probe of a column, of those that are decided. By the paper's rule "
        "(Figure 5) one beats the other if its mean is higher by more than one "
        "standard deviation over seeds, the larger one of the two probes; this says "
        "nothing about other test clips. By paired intervals one beats the other if "
        "the 95 % interval of their difference, over other clips and seeds, does not "
        "contain zero. A probe that diverged loses to every probe that did not. "
        "Supervised encoders (+) are left out, as in the paper. Cells with a single "
        "seed decide nothing, except for probes that are not trained; without saved "
        "predictions there are no paired intervals over clips.",
    )
    rules = {
        "wins": ("by the paper's rule", _wins(grid)),
        "wins_paired": ("by paired intervals", _paired_wins(grid, comparisons)),
    }
    rules = {k: (rule, won) for k, (rule, won) in rules.items() if won.any()}
    if not rules:
        return Section(
            name="wins",
            title=TITLE,
            paragraphs=(*paragraphs, "No configuration here decides between probes."),
        )
    return Section(
        name="wins",
        title=TITLE,
        paragraphs=paragraphs,
        pictures=tuple(
            _heat_map(name, rule, grid.probes, won)
            for name, (rule, won) in rules.items()
        ),
        tables=tuple(
            _table(name, rule, grid.probes, won) for name, (rule, won) in rules.items()
        ),
    )


def _table(name: str, rule: str, probes: Sequence[str], won: np.ndarray) -> Table:
    share, decided = _share(won)

    def field(i: int, j: int) -> Field:
        if not decided[i, j]:
            return NOT_RUN
        counts = f"{won[i, j]} of {decided[i, j]}"
        return Field(f"{share[i, j]:.0f} %", float(share[i, j]), counts)

    return Table(
        name=name,
        title="Share of decided configurations in which the row beats the column, "
        + rule,
        columns=("probe", *probes),
        rows=tuple(
            (probe, *(field(i, j) for j in range(len(probes))))
            for i, probe in enumerate(probes)
        ),
        note="A dash means that no configuration is decided.",
    )


def _share(won: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of decided configurations that a row wins, in %, and their number."""
    decided = won + won.T
    unknown = np.full(won.shape, np.nan)
    return np.divide(100.0 * won, decided, out=unknown, where=decided > 0), decided


def _is_supervised(encoder: str) -> bool:
    return encoder.split(" ")[0].endswith("+")


def _paired_wins(grid: ResultGrid, comparisons: Sequence[Comparison]) -> np.ndarray:
    place = {probe: i for i, probe in enumerate(grid.probes)}
    won = np.zeros((len(place), len(place)), int)
    for c in comparisons:
        if c.kind == "probes" and len(c.datasets) == 1 and c.better:
            loser = c.second if c.better == c.first else c.first
            won[place[c.better], place[loser]] += not _is_supervised(c.shared)
    return won


def _wins(grid: ResultGrid) -> np.ndarray:
    encoders = [e for e in grid.encoders if not _is_supervised(e)]
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


def _heat_map(name: str, rule: str, probes: Sequence[str], won: np.ndarray) -> Picture:
    """Draws the shares; those of few configurations are pale."""
    share, decided = _share(won)
    n = len(probes)
    figure, (axis, *_) = drawing.panels([""])
    figure.set_size_inches(2.2 + 0.52 * n, 1.9 + 0.42 * n)
    axis.grid(False)
    strength = np.clip(decided / ENOUGH, 0, 1)[..., None]
    colours = colormaps["cividis"](np.nan_to_num(share) / 100)[..., :3]
    # On white, as the page of the picture.
    colours = 1 - strength * (1 - colours)
    axis.imshow(colours, aspect="auto")
    for i, j in itertools.product(range(n), range(n)):
        if decided[i, j]:
            colour = "white" if colours[i, j].mean() < 0.5 else "black"
            put = functools.partial(
                axis.annotate, xy=(j, i), xycoords="data", ha="center", color=colour
            )
            put(f"{share[i, j]:.0f}", va="bottom", fontsize=8)
            put(f"{won[i, j]}/{decided[i, j]}", va="top", fontsize=6)
    short = [looks.shorten(p, 24) for p in probes]
    axis.set_xticks(range(n), short, rotation=60, ha="right", fontsize=8)
    axis.set_yticks(range(n), short, fontsize=8)
    axis.set_title(
        f"row beats column {rule}, % of decided\npale: fewer than {ENOUGH} decided",
        fontsize=9,
    )
    alt = (
        f"Win matrix {rule}: the share of decided configurations in which the row "
        "beats the column"
    )
    return drawing.picture(name, alt, figure)
