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
from unmute_jax.report.statistics import kendall, ranks, spearman
from unmute_jax.report.tables import Table, number

# With fewer encoders, an order cannot be distinguished from chance.
LEAST_ENCODERS = 3
# The bootstrap's intervals of correlations held the true one in as few as 26 of 100
# made-up experiments with ten encoders.
NO_INTERVAL = (
    "There are no intervals, because none that was tried holds where encoders are "
    "close: the order of close encoders is hardly known."
)


@dataclass(frozen=True)
class Ranking:
    """The scores of encoders under one probe, which rank them.

    Attributes:
        probe: The name of the probe.
        encoders: The E encoders that were run with the probe.
        datasets: The D data sets on which all of these encoders were run.
        scores: The score of each encoder on each data set; NaN if it diverged.
        bounds: The best and the worst rank that each encoder may have on each data set
            with other clips and seeds; NaN where nothing is known of them.
    """

    probe: str
    encoders: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: Float[np.ndarray, "E D"]
    bounds: Float[np.ndarray, "E D 2"]

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
            bounds=self.bounds[:, kept],
        )


def between_probes(rankings: Sequence[Ranking]) -> Table | None:
    """Correlates the mean ranks of every two probes."""
    rows = []
    for a, b in itertools.combinations(rankings, 2):
        encoders = [e for e in a.encoders if e in b.encoders]
        datasets = [d for d in a.datasets if d in b.datasets]
        if len(encoders) < LEAST_ENCODERS or not datasets:
            continue
        means = []
        for r in (a, b):
            e = [r.encoders.index(x) for x in encoders]
            d = [r.datasets.index(x) for x in datasets]
            means.append(ranks(r.scores[e][:, d]).mean(-1))
        fields = [number(float(f(*means))) for f in (kendall, spearman)]
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
        f"1 means the same order, −1 the reverse. {NO_INTERVAL} n/a: one of the probes "
        "ranks all encoders alike.",
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
        fields = [number(float(f(ours, target))) for f in (kendall, spearman)]
        rows.append((r.probe, *fields, number(len(index), 0), number(len(sets), 0)))
    if not rows:
        return None
    return Table(
        name="agreement-with-the-paper",
        title="Do encoders rank as in the paper?",
        columns=("probe", "Kendall's τ-b", "Spearman's ρ", "encoders", "data sets"),
        rows=tuple(rows),
        note="Mean ranks here and in the paper, over the encoders with known scores "
        f"and the data sets on which all of them have one. {NO_INTERVAL}",
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
            value = number(float(kendall(ours, target)))
            rows.append((dataset, r.probe, value, number(len(known), 0)))
    if not rows:
        return None
    return Table(
        name="agreement-with-fine-tuning",
        title="Do probes rank encoders as fine-tuning does?",
        columns=("data set", "probe", "Kendall's τ-b", "encoders"),
        rows=tuple(rows),
        note=f"Fine-tuned scores are those that the paper quotes. {NO_INTERVAL}",
    )
