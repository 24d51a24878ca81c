"""Which encoder is best under each probe, and whether probes agree on it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.report import drawing, scores
from unmute_jax.report.grid import Grid
from unmute_jax.report.names import encoder_title, has_published_weights
from unmute_jax.report.paper_numbers import fine_tuned
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.section import Picture, Section
from unmute_jax.report.statistics import interval, kendall, ranks, spearman
from unmute_jax.report.tables import Field, Table, between, number

# Of fewer encoders no order can be told from chance.
LEAST = 3


@dataclass(frozen=True)
class Ranking:
    """The ranks of encoders under one probe.

    Attributes:
        probe: Which.
        encoders: E, those that were run with it.
        datasets: D, those with all of them.
        scores: Of each encoder on each data set.
        draws: The same in R draws of clips and seeds.
    """

    probe: str
    encoders: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: Float[np.ndarray, "E D"]
    draws: Float[np.ndarray, "R E D"]

    @property
    def mean(self) -> Float[np.ndarray, " E"]:
        """The mean rank over data sets, 1 is best."""
        return ranks(self.scores).mean(-1)


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
    if pairs := _agreements(rankings):
        tables.append(pairs)
    elif rankings:
        words.append(
            f"Rank correlations need {LEAST} encoders that two probes share; there are "
            "fewer."
        )
    if beside := _with_fine_tuning(grid, rankings):
        tables.append(beside)
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


def _agreements(rankings: Sequence[Ranking]) -> Table | None:
    rows = []
    for a, b in itertools.combinations(rankings, 2):
        encoders = [e for e in a.encoders if e in b.encoders]
        datasets = [d for d in a.datasets if d in b.datasets]
        if len(encoders) < LEAST or not datasets:
            continue
        means, draws = [], []
        for r in (a, b):
            e = [r.encoders.index(x) for x in encoders]
            d = [r.datasets.index(x) for x in datasets]
            means.append(ranks(r.scores[e][:, d]).mean(-1))
            draws.append(ranks(r.draws[:, e][:, :, d]).mean(-1))
        row: list[Field | str] = [a.probe, b.probe]
        for correlation in (kendall, spearman):
            value = float(correlation(*means))
            told = between(*interval(correlation(*draws)))
            made = number(value)
            row.append(Field(made.text, made.value, told))
        rows.append((*row, number(len(encoders), 0), number(len(datasets), 0)))
    if not rows:
        return None
    return Table(
        name="agreement",
        title="Do two probes rank encoders alike?",
        columns=(
            "probe",
            "and",
            "Kendall's τ-b",
            "Spearman's ρ",
            "encoders",
            "data sets",
        ),
        rows=tuple(rows),
        note="Correlation of mean ranks over the data sets that both have; 1: the same "
        "order, −1: the reverse. In small, 95 % intervals over draws of clips and "
        "seeds.",
    )


def _with_fine_tuning(grid: Grid, rankings: Sequence[Ranking]) -> Table | None:
    """Rank correlation with fine-tuning as the paper quotes it, per data set."""
    rows = []
    for r in rankings:
        for k, dataset in enumerate(r.datasets):
            known: list[tuple[int, float]] = []
            for i, e in enumerate(r.encoders):
                cell = grid.at(dataset, e, r.probe)
                assert cell is not None
                first = cell.first
                paper = fine_tuned(first.dataset, first.metric, encoder_title(first))
                if paper and has_published_weights(first):
                    known.append((i, paper.value))
            if len(known) < LEAST:
                continue
            index = [i for i, _ in known]
            goal = np.asarray([v for _, v in known])
            value = float(kendall(r.scores[index, k], goal))
            drawn = kendall(
                r.draws[:, index, k], np.broadcast_to(goal, (len(r.draws), len(goal)))
            )
            made = number(value)
            rows.append(
                (
                    *(dataset, r.probe),
                    Field(made.text, made.value, between(*interval(drawn))),
                    number(len(known), 0),
                )
            )
    if not rows:
        return None
    return Table(
        name="agreement-with-fine-tuning",
        title="Do probes rank encoders as fine-tuning does?",
        columns=("data set", "probe", "Kendall's τ-b", "encoders"),
        rows=tuple(rows),
        note="Fine-tuned scores as the paper quotes them.",
    )


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
    axis.set(ylabel="mean rank (1 is best)")
    short = [drawing.short(r.probe, 24) for r in rankings]
    axis.set_xticks(range(len(short)), short, rotation=45, ha="right", fontsize=8)
    drawing.legend(figure, handles, [drawing.short(e) for e in encoders])
    alt = "Mean rank of each encoder under each probe, with 95 % intervals"
    return drawing.picture("ranks", alt, figure)
