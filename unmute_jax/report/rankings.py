"""Ranks the encoders under each probe, and measures how far the probes agree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.ticker import MaxNLocator

from unmute_jax.report import agreement, drawing, scores
from unmute_jax.report.agreement import Ranking
from unmute_jax.report.common import common_items
from unmute_jax.report.drawing import Dot
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.page import Picture, Section
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.result_grid import ResultCell, ResultGrid
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
        "is a 95 % interval: on each data set, an encoder ranks after all that are "
        "known to be better and before all that are known to be worse, by intervals of "
        "differences on the same clips that all hold together, and the two ends are "
        "averaged. It is wide where encoders are close. It holds for these data sets; "
        "a few of them do not tell the ranks on others.",
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
                    [bounds(len(row), _differences(row, resampler)) for row in columns],
                    1,
                ),
            )
        )
    return rankings


def _rank_table(grid: ResultGrid, rankings: Sequence[Ranking]) -> Table:
    def field(encoder: str, r: Ranking) -> Field:
        if encoder not in r.encoders:
            return NOT_RUN
        i = r.encoders.index(encoder)
        low, high = r.bounds[i].mean(0)
        return Field(f"{r.mean[i]:.2f}", float(r.mean[i]), between(low, high, 1))

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


def bounds(
    encoders: int, differences: Mapping[tuple[int, int], Estimate]
) -> Float[np.ndarray, "E 2"]:
    """The best and the worst rank that each encoder may have on a data set.

    An encoder ranks after all that are known to be better, and before all that are
    known to be worse (Mogstad et al., Inference for ranks, 2024). Draws of ranks
    themselves, such as those of the bootstrap, mislead where encoders are close.

    Args:
        encoders: The number of encoders.
        differences: How much higher the score of the first of two encoders is.

    Returns:
        The bounds; NaN if no difference has an interval.
    """
    is_better, is_known = np.zeros((encoders, encoders), bool), False
    for (i, k), difference in differences.items():
        # For each encoder, the differences from all others shall hold together.
        low, high = difference.interval(is_score=False, comparisons=encoders - 1)
        is_better[i, k], is_better[k, i] = low > 0, high < 0
        is_known |= bool(np.isfinite(low))
    ends = np.stack([1 + is_better.sum(0), encoders - is_better.sum(1)], -1)
    return np.where(is_known, ends, np.nan)


def _differences(
    cells: Sequence[ResultCell], resampler: Resampler
) -> dict[tuple[int, int], Estimate]:
    """The differences of encoders that were tested on the same clips."""
    return {
        (i, k): resampler.difference(a, b)
        for (i, a), (k, b) in itertools.combinations(enumerate(cells), 2)
        if a.has_clips_of(b)
    }


def _interval_paragraph(grid: ResultGrid) -> str:
    """Explains what is resampled for the interval, for each data set."""
    kinds: dict[str, list[str]] = {}
    for dataset in grid.datasets:
        # What the cell with the least to resample has.
        bases = [basis(c) for c in grid.of_dataset(dataset)]
        least = min(bases, key=lambda b: (bool(b.kind), b.has_seeds))
        text = least.text.replace(", ", " and ") or "nothing"
        kinds.setdefault(text, []).append(dataset)
    parts = [f"{text} ({', '.join(v)})" for text, v in kinds.items()]
    return (
        f"The interval allows for the choice of {'; of '.join(parts)}. Groups are "
        "recordings, sites or speakers. The choice of clips is not known to matter "
        "where their predictions were not saved."
    )


def _rank_picture(grid: ResultGrid, rankings: Sequence[Ranking]) -> Picture:
    dots = {
        r.probe: {
            encoder: Dot(value=rank, low=low, high=high)
            for encoder, rank, (low, high) in zip(
                r.encoders, r.mean.tolist(), r.bounds.mean(1).tolist(), strict=True
            )
        }
        for r in rankings
    }
    figure, axes = drawing.rows_of_dots(dots, drawing.encoder_looks(grid.encoders))
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("mean rank (1 is best)", fontsize=9)
    alt = "Mean rank of each encoder under each probe, with 95 % intervals"
    return drawing.picture("ranks", alt, figure)
