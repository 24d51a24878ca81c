"""Rank correlations: whether probes agree with each other and with the paper."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.report.names import encoder_title, has_published_weights
from unmute_jax.report.paper_numbers import fine_tuned
from unmute_jax.report.result_grid import ResultGrid
from unmute_jax.report.scores import paper_score
from unmute_jax.report.statistics import interval, kendall, ranks, spearman
from unmute_jax.report.tables import Field, Table, between, number

# With fewer encoders, an order cannot be distinguished from chance.
LEAST_ENCODERS = 3


@dataclass(frozen=True)
class Ranking:
    """The scores of encoders under one probe, which rank them.

    Attributes:
        probe: The name of the probe.
        encoders: The E encoders that were run with the probe.
        datasets: The D data sets on which all of these encoders were run.
        scores: The score of each encoder on each data set; NaN if it diverged.
        draws: The same scores in R draws of clips and seeds.
    """

    probe: str
    encoders: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: Float[np.ndarray, "E D"]
    draws: Float[np.ndarray, "R E D"]

    @property
    def mean(self) -> Float[np.ndarray, " E"]:
        """The mean rank over data sets; 1 is best."""
        return ranks(self.scores).mean(-1)

    def over(self, datasets: Sequence[str]) -> Ranking:
        """The same ranking over some of its data sets."""
        kept = [self.datasets.index(d) for d in datasets]
        return dataclasses.replace(
            self,
            datasets=tuple(datasets),
            scores=self.scores[:, kept],
            draws=self.draws[:, :, kept],
        )


def between_probes(rankings: Sequence[Ranking]) -> Table | None:
    """Correlates the mean ranks of every two probes."""
    rows = []
    for a, b in itertools.combinations(rankings, 2):
        encoders = [e for e in a.encoders if e in b.encoders]
        datasets = [d for d in a.datasets if d in b.datasets]
        if len(encoders) < LEAST_ENCODERS or not datasets:
            continue
        means, draws = [], []
        for r in (a, b):
            e = [r.encoders.index(x) for x in encoders]
            d = [r.datasets.index(x) for x in datasets]
            means.append(ranks(r.scores[e][:, d]).mean(-1))
            draws.append(ranks(r.draws[:, e][:, :, d]).mean(-1))
        fields = [_field(f(*means), f(*draws)) for f in (kendall, spearman)]
        counts = (number(len(encoders), 0), number(len(datasets), 0))
        rows.append((a.probe, b.probe, *fields, *counts))
    if not rows:
        return None
    return Table(
        name="agreement",
        title="Do two probes rank encoders alike?",
        columns=(
            *("probe", "and", "Kendall's τ-b", "Spearman's ρ"),
            *("encoders", "data sets"),
        ),
        rows=tuple(rows),
        note="Correlations of the mean ranks over the data sets that both probes have: "
        "1 means the same order, −1 the reverse. In small print are 95 % intervals "
        "over draws of clips and seeds. n/a: one of the probes ranks all encoders "
        "alike.",
    )


def with_paper(grid: ResultGrid, rankings: Sequence[Ranking]) -> Table | None:
    """Correlates the mean ranks of each probe with those in the paper."""
    rows = []
    for r in rankings:
        known = np.full(r.scores.shape, np.nan)
        for (i, e), (k, d) in itertools.product(
            enumerate(r.encoders), enumerate(r.datasets)
        ):
            cell = grid.at(d, e, r.probe)
            paper = paper_score(cell) if cell else None
            known[i, k] = paper.value if paper else np.nan
        index = np.flatnonzero(np.isfinite(known).any(1))
        sets = np.flatnonzero(np.isfinite(known[index]).all(0))
        if len(index) < LEAST_ENCODERS or not len(sets):
            continue
        target = ranks(known[index][:, sets]).mean(-1)
        ours = ranks(r.scores[index][:, sets]).mean(-1)
        drawn = ranks(r.draws[:, index][:, :, sets]).mean(-1)
        targets = np.broadcast_to(target, drawn.shape)
        fields = [
            _field(f(ours, target), f(drawn, targets)) for f in (kendall, spearman)
        ]
        rows.append((r.probe, *fields, number(len(index), 0), number(len(sets), 0)))
    if not rows:
        return None
    return Table(
        name="agreement-with-the-paper",
        title="Do encoders rank as in the paper?",
        columns=("probe", "Kendall's τ-b", "Spearman's ρ", "encoders", "data sets"),
        rows=tuple(rows),
        note="Mean ranks here and in the paper, over the encoders with known scores "
        "and the data sets on which all of them have one.",
    )


def with_fine_tuning(grid: ResultGrid, rankings: Sequence[Ranking]) -> Table | None:
    """Correlates each probe with fine-tuned scores, on each data set."""
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
            if len(known) < LEAST_ENCODERS:
                continue
            index = [i for i, _ in known]
            target = np.asarray([v for _, v in known])
            # Low ranks are good; ranks also give diverged trainings their place.
            ours = -ranks(r.scores)[index, k]
            drawn = -ranks(r.draws)[:, index, k]
            value = kendall(ours, target)
            draws = kendall(drawn, np.broadcast_to(target, drawn.shape))
            rows.append((dataset, r.probe, _field(value, draws), number(len(known), 0)))
    if not rows:
        return None
    return Table(
        name="agreement-with-fine-tuning",
        title="Do probes rank encoders as fine-tuning does?",
        columns=("data set", "probe", "Kendall's τ-b", "encoders"),
        rows=tuple(rows),
        note="Fine-tuned scores are those that the paper quotes.",
    )


def _field(correlation: np.ndarray, draws: Float[np.ndarray, "R"]) -> Field:
    """A correlation with its interval in small print."""
    value = number(float(correlation))
    return Field(value.text, value.value, between(*interval(draws)))
