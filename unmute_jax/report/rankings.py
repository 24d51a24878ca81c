"""Which encoder is best under each probe, and whether probes agree on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from unmute_jax.report import agreement, drawing, scores
from unmute_jax.report.agreement import Ranking
from unmute_jax.report.grid import Grid
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import interval, ranks
from unmute_jax.report.tables import Field, Table, between


def section(grid: Grid, resampler: Resampler) -> Section:
    """Mean ranks of encoders under each probe, and how far probes agree."""
    rankings = _rankings(grid, resampler)
    words = [
        "Encoders are ranked on each data set by their mean score (1 is best, equals "
        "share), and ranks are averaged over the data sets on which all encoders of "
        "that probe were run, on the same folds. In small, 95 % intervals: first of "
        "other test clips and seeds, then of other data sets.",
        _basis(grid),
    ]
    if not rankings:
        words.append("No probe here was run with two encoders on one data set.")
    tables = [_rank_table(grid, rankings)] if rankings else []
    pairs = agreement.between_probes(rankings)
    if rankings and pairs is None:
        words.append(
            f"Rank correlations need {agreement.LEAST} encoders that two probes share; "
            "there are fewer."
        )
    others = (agreement.with_paper, agreement.with_fine_tuning)
    found = [pairs, *(other(grid, rankings) for other in others)]
    tables += [table for table in found if table is not None]
    return Section(
        name="ranks",
        title="Which encoder is best, under each probe",
        words=tuple(words),
        pictures=(_bumps(grid, rankings),) if len(rankings) > 1 else (),
        tables=tuple(tables),
    )


def _rankings(grid: Grid, resampler: Resampler) -> list[Ranking]:
    made = []
    for probe in grid.probes:
        encoders = [
            e for e in grid.encoders if any(grid.at(d, e, probe) for d in grid.datasets)
        ]
        table = {d: [grid.at(d, e, probe) for e in encoders] for d in grid.datasets}
        whole = {
            d: [c for c in row if c]
            for d, row in table.items()
            if all(c is not None and row[0] and c.folds == row[0].folds for c in row)
        }
        if len(encoders) < 2 or not whole:
            continue
        columns = list(whole.values())
        made.append(
            Ranking(
                probe,
                tuple(encoders),
                tuple(whole),
                np.asarray([[c.mean for c in row] for row in columns]).T,
                np.stack(
                    [np.stack([resampler.draws(c) for c in row], 1) for row in columns],
                    -1,
                ),
            )
        )
    return made


def _rank_table(grid: Grid, rankings: Sequence[Ranking]) -> Table:
    def one(encoder: str, r: Ranking) -> Field:
        if encoder not in r.encoders:
            return Field("–")
        i = r.encoders.index(encoder)
        clips = interval(ranks(r.draws)[:, i].mean(-1))
        sets = interval(_of_datasets(r)[:, i])
        told = [between(*clips, 1), between(*sets, 1) if len(r.datasets) > 1 else ""]
        return Field(f"{r.mean[i]:.2f}", float(r.mean[i]), " ".join(filter(None, told)))

    encoders = [e for e in grid.encoders if any(e in r.encoders for r in rankings)]
    shown = [r.probe for r in rankings]
    missing = (
        ""
        if any(p.startswith(scores.BASELINE) for p in shown)
        else (f" {scores.BASELINE}: not run with two encoders.")
    )
    sets = {r.probe: f"{len(r.datasets)}" for r in rankings}
    return Table(
        name="ranks",
        title="Mean rank of encoders under each probe",
        columns=("encoder", *shown),
        rows=tuple((e, *(one(e, r) for r in rankings)) for e in encoders),
        note="Data sets: "
        + ", ".join(f"{p} {n}" for p, n in sets.items())
        + f", of {len(grid.datasets)}."
        + missing,
    )


def _of_datasets(r: Ranking) -> np.ndarray:
    """`[R, E]`: mean ranks where the data sets are drawn."""
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(r.datasets), size=(len(r.draws), len(r.datasets)))
    return ranks(r.scores)[:, chosen].mean(-1).T


def _basis(grid: Grid) -> str:
    """What was drawn for the intervals, and what could not be."""
    told = {
        "clips": "other recordings (or the sites, speakers or clips that are known "
        "instead) and other seeds",
        "seeds": "other seeds only, as no predictions were kept",
        "": "nothing: one seed, no predictions",
    }
    kinds: dict[str, list[str]] = {}
    for dataset in grid.datasets:
        found = {basis(c) for c in grid.of_dataset(dataset)}
        kind = min(found, key=["", "seeds", "clips"].index)
        kinds.setdefault(kind, []).append(dataset)
    parts = [f"{told[k]} ({', '.join(v)})" for k, v in kinds.items()]
    return f"The intervals are of draws with replacement of {'; of '.join(parts)}."


def _bumps(grid: Grid, rankings: Sequence[Ranking]) -> Picture:
    figure, (axis, *_) = drawing.panels([""])
    figure.set_size_inches(max(5.0, 1.8 + 0.75 * len(rankings)), 4.2)
    encoders = [e for e in grid.encoders if any(e in r.encoders for r in rankings)]
    handles = []
    for k, encoder in enumerate(encoders):
        shift = 0.3 * (k / max(1, len(encoders) - 1) - 0.5)
        x, y, low, high = [], [], [], []
        for i, r in enumerate(rankings):
            if encoder in r.encoders:
                j = r.encoders.index(encoder)
                ends = interval(ranks(r.draws)[:, j].mean(-1))
                x.append(i + shift)
                y.append(r.mean[j])
                low.append(max(0.0, y[-1] - ends[0]))
                high.append(max(0.0, ends[1] - y[-1]))
        bar = axis.errorbar(
            x, y, yerr=[low, high], ms=5, lw=1, elinewidth=0.8, **drawing.style(k)
        )
        handles.append(bar)
    axis.invert_yaxis()
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set(ylabel="mean rank (1 is best)")
    short = [drawing.short(r.probe, 24) for r in rankings]
    axis.set_xticks(range(len(short)), short, rotation=45, ha="right", fontsize=8)
    drawing.legend(figure, handles, [drawing.short(e) for e in encoders])
    alt = "Mean rank of each encoder under each probe, with 95 % intervals"
    return drawing.picture("ranks", alt, figure)
