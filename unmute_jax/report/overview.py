"""The tables that papers print: encoders as rows, data sets as columns, and means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from unmute_jax.report import names, scores
from unmute_jax.report.agreement import Ranking
from unmute_jax.report.common import common_items
from unmute_jax.report.page import Section
from unmute_jax.report.resampling import Resampler
from unmute_jax.report.result_grid import ResultGrid, searched
from unmute_jax.report.tables import DIVERGED, NOT_RUN, Field, Table, number


@dataclass(frozen=True, kw_only=True)
class Means:
    """Mean scores over the data sets of one metric.

    Attributes:
        metric: The metric.
        datasets: The data sets over which all means are taken.
        others: Data sets of this metric that most cells lack.
        values: The mean of each (encoder, probe) that was run on all `datasets`; NaN
            if a seed diverged.
    """

    metric: str
    datasets: tuple[str, ...]
    others: tuple[str, ...]
    values: dict[tuple[str, str], float]

    def field(self, encoder: str, probe: str, is_best: bool) -> Field:
        """The mean of an encoder with a probe, in bold if it is the best one."""
        value = self.values.get((encoder, probe))
        if value is None:
            return NOT_RUN
        if np.isnan(value):
            return DIVERGED
        plain = number(value)
        return Field(plain.text, plain.value, strong=is_best)


def section(
    grid: ResultGrid, resampler: Resampler, rankings: Sequence[Ranking]
) -> Section:
    """Makes tables of means, and for each probe a table of encoders by data set.

    Args:
        grid: The cells.
        resampler: Computes the intervals of scores.
        rankings: The mean ranks of encoders, over common data sets.
    """
    means = _means(grid)
    probes = [p for p in grid.probes if len(_encoders(grid, p)) > 1]
    paragraphs = [
        "Test scores in points of 100: the mean over seeds, ± the standard deviation "
        "over seeds, and in brackets the 95 % interval over other test clips and "
        "seeds. The best encoder under a probe, and the best probe of an encoder in "
        "tables of means, are in bold. Means and ranks (1 is best) are over the data "
        "sets that the notes name. The sections below explain how the numbers are "
        "defined, and report.tex has these tables for a paper.",
    ]
    if not means and not probes:
        paragraphs.append(
            "No probe here was run with two encoders, or on two data sets with the "
            "same metric."
        )
    return Section(
        name="overview",
        title="Encoders and probes at a glance",
        paragraphs=tuple(paragraphs),
        tables=(
            *(_mean_table(grid, m) for m in means),
            *(_probe_table(grid, p, means, rankings, resampler) for p in probes),
        ),
    )


def _encoders(grid: ResultGrid, probe: str) -> list[str]:
    """The encoders that were run with a probe."""
    found = {c.encoder for c in grid.cells if c.probe == probe}
    return [e for e in grid.encoders if e in found]


def _means(grid: ResultGrid) -> list[Means]:
    """For each metric, the means over the data sets that probes have in common."""
    found = []
    for metric in dict.fromkeys(map(grid.metric, grid.datasets)):
        mine = [d for d in grid.datasets if grid.metric(d) == metric]
        cells = {
            (e, p): own
            for e in grid.encoders
            for p in grid.probes
            # One data set has no mean, and must not keep others from having one.
            if len(own := {d: c for d in mine if (c := grid.at(d, e, p))}) > 1
        }
        datasets = common_items(cells, mine)
        values = {
            key: float(np.mean([own[d].mean for d in datasets]))
            for key, own in cells.items()
            if set(datasets) <= own.keys()
        }
        if len(datasets) > 1 and values:
            others = tuple(d for d in mine if d not in datasets)
            found.append(
                Means(metric=metric, datasets=datasets, others=others, values=values)
            )
    return found


def _mean_table(grid: ResultGrid, means: Means) -> Table:
    encoders = [e for e in grid.encoders if any(e == x for x, _ in means.values)]
    probes = [p for p in grid.probes if any(p == x for _, x in means.values)]
    best = {
        e: scores.highest([v for (x, _), v in means.values.items() if x == e])
        for e in encoders
    }
    titles = (
        [names.dataset_title(d) for d in datasets]
        for datasets in (means.datasets, (*means.datasets, *means.others))
    )
    return Table(
        name=f"means-{names.slug(means.metric)}",
        title=f"Mean test {means.metric} over {len(means.datasets)} data sets",
        columns=("probe", *encoders),
        rows=tuple(
            (
                p,
                *(
                    means.field(e, p, means.values.get((e, p)) == best[e])
                    for e in encoders
                ),
            )
            for p in scores.with_baseline(probes)
        ),
        note=f"{scores.over_datasets(*titles)} A dash means that the probe was not "
        f"run on all of them, or failed. {searched(grid.cells)}".strip(),
    )


def _probe_table(
    grid: ResultGrid,
    probe: str,
    means: Sequence[Means],
    rankings: Sequence[Ranking],
    resampler: Resampler,
) -> Table:
    """The encoders under one probe, with a column for each data set."""
    cells = [c for c in grid.cells if c.probe == probe]
    encoders = _encoders(grid, probe)
    datasets = [d for d in grid.datasets if any(c.dataset == d for c in cells)]
    best = {
        d: scores.highest([c.mean for c in cells if c.dataset == d]) for d in datasets
    }
    means = [m for m in means if any(p == probe for _, p in m.values)]
    ranking = next((r for r in rankings if r.probe == probe), None)

    def field(dataset: str, encoder: str) -> Field:
        cell = grid.at(dataset, encoder, probe)
        if cell is None:
            return grid.no_score(dataset, encoder, probe)
        return scores.score_field(cell, resampler, cell.mean == best[dataset])

    def mean(m: Means, encoder: str) -> Field:
        mine = [v for (_, p), v in m.values.items() if p == probe]
        value = m.values.get((encoder, probe))
        return m.field(encoder, probe, len(mine) > 1 and value == scores.highest(mine))

    def rank(encoder: str) -> list[Field]:
        if ranking is None:
            return []
        if encoder not in ranking.encoders:
            return [NOT_RUN]
        means = ranking.mean.tolist()
        value = means[ranking.encoders.index(encoder)]
        return [Field(f"{value:.2f}", value, strong=value == min(means))]

    metrics = dict.fromkeys(map(grid.metric, datasets))
    notes = [
        "; ".join(
            f"{m} on {_titles(d for d in datasets if grid.metric(d) == m)}"
            for m in metrics
        )
    ]
    notes[0] += "."
    notes += [f"Mean {m.metric} over {_titles(m.datasets)}." for m in means]
    if ranking is not None:
        notes.append(f"Mean rank over {_titles(ranking.datasets)}.")
    if seeds := [len(c.seeds) for c in cells if len(c.seeds) > 1]:
        notes.append(f"±: the standard deviation over {scores.span(seeds)} seeds.")
    return Table(
        name=f"encoders-{names.slug(probe)}",
        title=f"Test scores of {names.probe_in_print(probe)}",
        columns=(
            "encoder",
            *map(names.dataset_title, datasets),
            *(f"mean {m.metric}" for m in means),
            *(["mean rank"] if ranking is not None else []),
        ),
        rows=tuple(
            (
                encoder,
                *(field(d, encoder) for d in datasets),
                *(mean(m, encoder) for m in means),
                *rank(encoder),
            )
            for encoder in encoders
        ),
        note=" ".join([*notes, searched(cells)]).strip(),
        has_small_print_in_latex=False,
    )


def _titles(datasets: Iterable[str]) -> str:
    return ", ".join(map(names.dataset_title, datasets))
