"""Do probes agree on which encoder is best: with each other, and with the paper?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.report.grid import Grid
from unmute_jax.report.names import encoder_title, has_published_weights
from unmute_jax.report.paper_numbers import fine_tuned
from unmute_jax.report.scores import paper_of
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


def between_probes(rankings: Sequence[Ranking]) -> Table | None:
    """Rank correlation of every two probes."""
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


def with_paper(grid: Grid, rankings: Sequence[Ranking]) -> Table | None:
    """Rank correlation with the same ranking of the paper, per probe."""
    rows = []
    for r in rankings:
        known = np.full(r.scores.shape, np.nan)
        for (i, e), (k, d) in itertools.product(
            enumerate(r.encoders), enumerate(r.datasets)
        ):
            cell = grid.at(d, e, r.probe)
            paper = paper_of(cell) if cell else None
            known[i, k] = paper.value if paper else np.nan
        index = np.flatnonzero(np.isfinite(known).any(1))
        sets = np.flatnonzero(np.isfinite(known[index]).all(0))
        if len(index) < LEAST or not len(sets):
            continue
        goal = ranks(known[index][:, sets]).mean(-1)
        ours = ranks(r.scores[index][:, sets]).mean(-1)
        drawn = ranks(r.draws[:, index][:, :, sets]).mean(-1)
        row: list[Field | str] = [r.probe]
        for correlation in (kendall, spearman):
            made = number(float(correlation(ours, goal)))
            ends = interval(correlation(drawn, np.broadcast_to(goal, drawn.shape)))
            row.append(Field(made.text, made.value, between(*ends)))
        rows.append((*row, number(len(index), 0), number(len(sets), 0)))
    if not rows:
        return None
    return Table(
        name="agreement-with-the-paper",
        title="Do encoders rank as in the paper?",
        columns=("probe", "Kendall's τ-b", "Spearman's ρ", "encoders", "data sets"),
        rows=tuple(rows),
        note="Mean ranks here and in the paper, over the encoders whose numbers are "
        "known and the data sets that have all of them.",
    )


def with_fine_tuning(grid: Grid, rankings: Sequence[Ranking]) -> Table | None:
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
