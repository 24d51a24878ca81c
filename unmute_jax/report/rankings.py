"""Ranks the encoders under each probe, and measures how far the probes agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from unmute_jax.report import agreement, drawing, scores
from unmute_jax.report.agreement import Ranking
from unmute_jax.report.common import common_items
from unmute_jax.report.drawing import Dot
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.statistics import interval, ranks
from unmute_jax.report.tables import NOT_RUN, Field, Table, between


def section(grid: ResultGrid, rankings: Sequence[Ranking]) -> Section:
    """Makes a table of mean ranks and tables of rank correlations.

    Args:
        grid: The cells.
        rankings: The ranks of encoders under each probe, as `rank` computes them.
    """
    means = over_common(grid, rankings)
    paragraphs = [
        "On each data set the encoders are ranked by their mean score: rank 1 is best, "
        "tied encoders share the mean of their ranks, and an encoder with a diverged "
        "seed is last. Ranks are averaged over the data sets that the note names, on "
        "which all encoders of a probe were run on the same folds. In small print "
        "are two 95 % intervals: over other test clips and seeds, and over other data "
        "sets.",
        _interval_paragraph(grid),
    ]
    if not rankings:
        paragraphs.append("No probe here was run with two encoders on one data set.")
    tables = [_rank_table(grid, means)] if means else []
    between_probes = agreement.between_probes(rankings)
    if rankings and between_probes is None:
        paragraphs.append(
            f"Rank correlations need {agreement.LEAST_ENCODERS} encoders that two "
            "probes share; there are fewer here."
        )
    correlations = [
        between_probes,
        agreement.with_paper(grid, rankings),
        agreement.with_fine_tuning(grid, rankings),
    ]
    tables += [table for table in correlations if table is not None]
    return Section(
        name="ranks",
        title="Which encoder is best under each probe",
        paragraphs=tuple(paragraphs),
        pictures=(_rank_picture(grid, means),) if len(means) > 1 else (),
        tables=tuple(tables),
    )


def over_common(grid: ResultGrid, rankings: Sequence[Ranking]) -> list[Ranking]:
    """The rankings over the data sets that they have in common.

    A probe that was not run on all of these data sets is left out.
    """
    datasets = common_items({r.probe: r.datasets for r in rankings}, grid.datasets)
    return [r.over(datasets) for r in rankings if set(datasets) <= {*r.datasets}]


def rank(grid: ResultGrid, resampler: Resampler) -> list[Ranking]:
    """Ranks the encoders under each probe that was run with at least two of them."""
    rankings = []
    for probe in grid.probes:
        encoders = [
            e for e in grid.encoders if any(grid.at(d, e, probe) for d in grid.datasets)
        ]
        rows = {d: [grid.at(d, e, probe) for e in encoders] for d in grid.datasets}
        complete = {
            d: [c for c in row if c]
            for d, row in rows.items()
            if all(c is not None and row[0] and c.folds == row[0].folds for c in row)
        }
        if len(encoders) < 2 or not complete:
            continue
        columns = list(complete.values())
        rankings.append(
            Ranking(
                probe,
                tuple(encoders),
                tuple(complete),
                np.asarray([[c.mean for c in row] for row in columns]).T,
                np.stack(
                    [np.stack([resampler.draws(c) for c in row], 1) for row in columns],
                    -1,
                ),
            )
        )
    return rankings


def _rank_table(grid: ResultGrid, rankings: Sequence[Ranking]) -> Table:
    def field(encoder: str, r: Ranking) -> Field:
        if encoder not in r.encoders:
            return NOT_RUN
        i = r.encoders.index(encoder)
        intervals = [between(*interval(ranks(r.draws)[:, i].mean(-1)), 1)]
        if len(r.datasets) > 1:
            intervals.append(between(*interval(_draw_datasets(r)[:, i]), 1))
        return Field(f"{r.mean[i]:.2f}", float(r.mean[i]), " ".join(intervals).strip())

    encoders = [e for e in grid.encoders if any(e in r.encoders for r in rankings)]
    probes = [r.probe for r in rankings]
    note = (
        f"{scores.over_datasets(rankings[0].datasets, grid.datasets)} A dash: the "
        "probe was not run with this encoder. Probes that were not run on all of these "
        "data sets are left out."
    )
    if not any(p.startswith(scores.BASELINE) for p in probes):
        note += f" {scores.BASELINE} was not run with two encoders."
    return Table(
        name="ranks",
        title="Mean rank of encoders under each probe",
        columns=("encoder", *probes),
        rows=tuple((e, *(field(e, r) for r in rankings)) for e in encoders),
        note=note,
    )


def _draw_datasets(r: Ranking) -> np.ndarray:
    """Mean ranks `[R, E]` over data sets that are drawn with replacement."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(r.datasets), size=(len(r.draws), len(r.datasets)))
    return ranks(r.scores)[:, chosen].mean(-1).T


def _interval_paragraph(grid: ResultGrid) -> str:
    """Explains what was drawn for the first interval, for each data set."""
    kinds: dict[str, list[str]] = {}
    for dataset in grid.datasets:
        # What the cell with the least to draw has.
        bases = [basis(c) for c in grid.of_dataset(dataset)]
        least = min(bases, key=lambda b: (bool(b.kind), b.has_seeds))
        text = least.text.replace(", ", " and ") or "nothing"
        kinds.setdefault(text, []).append(dataset)
    parts = [f"{text} ({', '.join(v)})" for text, v in kinds.items()]
    return (
        f"The first interval is over draws with replacement of {'; of '.join(parts)}. "
        "Groups are recordings, sites or speakers. Clips cannot be drawn where their "
        "predictions were not saved."
    )


def _rank_picture(grid: ResultGrid, rankings: Sequence[Ranking]) -> Picture:
    dots = {
        r.probe: {
            encoder: Dot(value=rank, low=low, high=high)
            for encoder, rank, draws in zip(
                r.encoders, r.mean.tolist(), ranks(r.draws).mean(-1).T, strict=True
            )
            for low, high in [interval(draws)]
        }
        for r in rankings
    }
    figure, axes = drawing.rows_of_dots(dots, drawing.encoder_looks(grid.encoders))
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("mean rank (1 is best)", fontsize=9)
    alt = "Mean rank of each encoder under each probe, with 95 % intervals"
    return drawing.picture("ranks", alt, figure)
