"""Compares two encoders, or two probes, on the same test clips."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unmute_jax.datasets.tables import csv_text
from unmute_jax.report import intervals
from unmute_jax.report.common import common_items
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.page import Section
from unmute_jax.report.resampling import Resampler, basis
from unmute_jax.report.result_grid import ResultCell, ResultGrid
from unmute_jax.report.scores import FEW_GROUPS, over_datasets
from unmute_jax.report.tables import (
    DIVERGED,
    NOT_RUN,
    Field,
    Table,
    between,
    signed,
)

TITLE = "Differences on the same clips"
# Tables with more rows are left to the CSV file.
MOST_ROWS = 100
# What is compared, and what both sides share.
KINDS = {"encoders": "probe", "probes": "encoder"}
COLUMNS = (
    *("compared", "datasets", "shared", "first", "second", "difference", "low_95"),
    *("high_95", "interval_over", "few_groups", "equal_predictions", "better"),
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The score of one encoder or probe minus that of another.

    Attributes:
        kind: What is compared: "encoders" or "probes".
        datasets: The data sets, over which the difference is a mean.
        shared: The probe of both encoders, or the encoder of both probes.
        first: The encoder or probe from whose score the other one is subtracted.
        second: The other one.
        estimate: The difference in points of 100; NaN if a seed diverged.
        over: What the interval is over, such as "groups, seeds".
        is_full: Whether it is over clips (or groups or folds) and over the seeds of
            all trained probes.
        has_few_groups: Whether clips were resampled, because groups were too few.
        is_equal: Whether both gave the same predictions for all clips and seeds.
        diverged: Whether a seed of the first diverged, and of the second.
    """

    kind: str
    datasets: tuple[str, ...]
    shared: str
    first: str
    second: str
    estimate: Estimate
    over: str
    is_full: bool
    has_few_groups: bool
    is_equal: bool
    diverged: tuple[bool, bool]

    @property
    def pair(self) -> tuple[str, str, str]:
        """What both share, the first and the second."""
        return self.shared, self.first, self.second

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference; NaN if nothing varied."""
        return self.estimate.interval(is_score=False)

    @property
    def better(self) -> str:
        """The one that is better; empty where that is not decided.

        It is decided where the interval is full and does not contain zero, or where
        only the other one diverged.
        """
        if self.diverged[0] != self.diverged[1]:
            return self.second if self.diverged[0] else self.first
        low, high = self.interval
        if self.is_full and (low > 0 or high < 0):
            return self.first if low > 0 else self.second
        return ""


def compare(grid: ResultGrid, resampler: Resampler) -> list[Comparison]:
    """Compares all pairs of encoders under each probe, and of probes on each encoder.

    Two cells are compared on the same clips: the difference is computed again without
    each block of clips, so that what makes a clip hard for both cancels.

    Args:
        grid: The cells. Two cells whose test clips differ are not compared.
        resampler: Computes the scores of cells on parts of their clips.

    Returns:
        A comparison for each pair of cells of each data set, and after them, where
        there are several data sets, one for each pair over the data sets that most
        pairs of this kind have.
    """
    found = [c for kind in KINDS for c in _of_pairs(kind, grid, resampler)]
    return [*found, *(c for kind in KINDS for c in _means(kind, found, grid))]


def section(grid: ResultGrid, comparisons: Sequence[Comparison]) -> Section:
    """Makes a table of the differences of encoders and one of those of probes."""
    paragraphs = [
        "The score of A minus the score of B in points of 100, both tested on the same "
        "clips. In small print is the 95 % interval over other clips (or groups or "
        "folds, the same ones for A and B) and seeds. It is narrower than the "
        "intervals of the two scores suggest, because a clip that is hard for both "
        "does not count. A difference is in bold if its interval does not contain "
        "zero. Each interval stands for one comparison: of a hundred comparisons of "
        "equals, up to about five are in bold. Without saved predictions, or with a "
        "single seed of a trained probe, nothing is in bold. 'equal' means "
        f"that both gave the same predictions for all clips. {FEW_GROUPS}: an "
        "interval over clips, because groups are fewer than five. The intervals of "
        "means are not over other data sets.",
    ]
    tables = []
    for kind in KINDS:
        chosen = [c for c in comparisons if c.kind == kind]
        if not chosen:
            paragraphs.append(f"No two {kind} were tested on the same clips.")
            continue
        table = _table(kind, chosen, grid)
        if len(table.rows) > MOST_ROWS:
            paragraphs.append(
                f"The {len(table.rows):,} pairs of {kind} are in "
                "tables/comparisons.csv alone."
            )
        else:
            tables.append(table)
    return Section(
        name="differences",
        title=TITLE,
        paragraphs=tuple(paragraphs),
        tables=tuple(tables),
    )


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """Formats all comparisons as CSV, with one row each."""
    return csv_text([COLUMNS, *map(_csv_line, comparisons)])


def _of_pairs(
    kind: str, grid: ResultGrid, resampler: Resampler
) -> Iterator[Comparison]:
    """Compares all pairs of one kind on each data set."""
    names, sharing = grid.encoders, grid.probes
    if kind == "probes":
        names, sharing = sharing, names
    for dataset, shared in itertools.product(grid.datasets, sharing):
        for pair in itertools.combinations(names, 2):
            # A cell is named by its encoder first.
            keys = [(n, shared) if kind == "encoders" else (shared, n) for n in pair]
            a, b = (grid.at(dataset, *key) for key in keys)
            if a is not None and b is not None and a.has_clips_of(b):
                estimate = resampler.difference(a, b)
                over, is_full = _drawn(a, b)
                yield Comparison(
                    kind=kind,
                    datasets=(dataset,),
                    shared=shared,
                    first=pair[0],
                    second=pair[1],
                    estimate=estimate,
                    over=over,
                    is_full=is_full,
                    has_few_groups=basis(a).has_few_groups or basis(b).has_few_groups,
                    is_equal=a.has_predictions_of(b),
                    diverged=(a.has_diverged, b.has_diverged),
                )


def _drawn(a: ResultCell, b: ResultCell) -> tuple[str, bool]:
    """What the interval of a difference is over, and whether that is everything."""
    kinds = {basis(a).kind, basis(b).kind}
    kind = kinds.pop() if len(kinds) == 1 else ""
    # A probe that is not trained has one seed, and its score varies with no other.
    is_known = all(len(c.seeds) > 1 or c.first.learning_rate is None for c in (a, b))
    has_seeds = any(len(c.seeds) > 1 for c in (a, b))
    parts = [*([kind] if kind else []), *(["seeds"] if has_seeds else [])]
    return ", ".join(parts), bool(kind) and is_known


def _means(
    kind: str, comparisons: Sequence[Comparison], grid: ResultGrid
) -> Iterator[Comparison]:
    """The means over the data sets that most pairs of one kind have in common."""
    pairs: dict[tuple[str, str, str], dict[str, Comparison]] = {}
    for c in comparisons:
        if c.kind == kind:
            pairs.setdefault(c.pair, {})[c.datasets[0]] = c
    datasets = common_items(pairs, grid.datasets)
    if len(datasets) < 2:
        return
    for found in pairs.values():
        if all(d in found for d in datasets):
            parts = [found[d] for d in datasets]
            yield dataclasses.replace(
                parts[0],
                datasets=datasets,
                estimate=intervals.mean([c.estimate for c in parts]),
                over="; ".join(dict.fromkeys(c.over for c in parts if c.over)),
                is_full=all(c.is_full for c in parts),
                has_few_groups=any(c.has_few_groups for c in parts),
                is_equal=all(c.is_equal for c in parts),
                # A mean has no value where either side diverged somewhere.
                diverged=(False, False),
            )


def _table(kind: str, comparisons: Sequence[Comparison], grid: ResultGrid) -> Table:
    """A row for each pair, and a column for each data set and for their mean."""
    singles = {(c.pair, c.datasets): c for c in comparisons}
    columns: dict[str, tuple[str, ...]] = {}
    columns |= {d: (d,) for d in grid.datasets if any((d,) == k for _, k in singles)}
    means = [c.datasets for c in comparisons if len(c.datasets) > 1]
    if means:
        columns["mean"] = means[0]
    noun, shared = kind.removesuffix("s"), KINDS[kind]
    return Table(
        name=f"{noun}_differences",
        title=f"{noun.capitalize()} A − {noun} B in points",
        columns=(shared, "A", "B", *columns),
        rows=tuple(
            (*pair, *(_field(singles.get((pair, k))) for k in columns.values()))
            for pair in dict.fromkeys(c.pair for c in comparisons)
        ),
        note=" ".join(
            [
                *([over_datasets(means[0], list(columns)[:-1])] if means else []),
                "A dash: not run on the same clips"
                + (", or not on all of these data sets." if means else "."),
            ]
        ),
    )


def _field(c: Comparison | None) -> Field:
    if c is None:
        return NOT_RUN
    value = c.estimate.value
    if np.isnan(value):
        return DIVERGED
    if c.is_equal:
        return Field("0", value, "equal")
    text = f"{signed(value)}{FEW_GROUPS * c.has_few_groups}"
    return Field(text, value, between(*c.interval), strong=bool(c.better))


def _csv_line(c: Comparison) -> tuple[object, ...]:
    numbers = (c.estimate.value, *c.interval)
    return (
        *(c.kind, " ".join(c.datasets), c.shared, c.first, c.second),
        *(round(x, 2) if np.isfinite(x) else None for x in numbers),
        c.over,
        "yes" if c.has_few_groups else "no",
        "yes" if c.is_equal else "no",
        c.better,
    )
