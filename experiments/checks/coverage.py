"""Counts how often the 95 % intervals of a report hold the true score.

python -m experiments.checks.coverage

In each of some made-up worlds the scores of clips are drawn from known distributions,
so that the true score, that of endlessly many clips, groups and seeds, is known. A test
split and a few seeds are drawn 1,000 times, and each time the report's interval is
computed. The program prints how often it held the true score. It fails if an interval
holds in less than 92 or more than 98 of 100 draws, except in the world that is marked
as a limit: six groups that are very different from each other, for which none of the
methods that were tried holds.

Other worlds have several encoders, whose true ranks are known, on one data set or more.
The interval of a mean rank fails if it holds in less than 92 of 100 draws, for the
encoder for which it holds least. It may hold always, because ranks are whole numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from absl import app, flags
from rich.console import Console
from rich.table import Table

from unmute_jax.report import intervals, rankings
from unmute_jax.report.intervals import Estimate
from unmute_jax.report.resampling import (
    accuracies,
    block_counts,
    mean_average_precisions,
)

DRAWS = flags.DEFINE_integer("draws", 1000, "The number of test splits per world.")

LOWEST, HIGHEST = 0.92, 0.98
# The number of clips from which a true score is computed, and of seeds.
MANY_CLIPS, MANY_SEEDS = 60_000, 40


@dataclass(frozen=True, kw_only=True)
class World:
    """How the clips and the trainings of a made-up experiment come about.

    The logit of a class is `separation` where the class is in the clip, plus the
    effects of the group, the clip and the training, all of them normal.

    Attributes:
        name: The name in the table.
        groups: The number of groups in a test split.
        clips: The number of clips of each group.
        classes: The number of classes.
        share: The mean share of positives of each class.
        separation: The mean logit of positives.
        seeds: The number of trainings.
        seed_spread: The standard deviation of the separation over trainings.
        group_spread: The standard deviation of the logits' means over groups.
        share_spread: The standard deviation over groups of the share, as a probit.
        gains: How much more further probes (or encoders) separate than the first.
        is_accuracy: Whether each clip has one class, and the score is the accuracy.
        is_limit: Whether the interval is known not to hold.
    """

    name: str
    groups: int
    clips: int = 1
    classes: int = 5
    share: float = 0.2
    separation: float = 1.5
    seeds: int = 5
    seed_spread: float = 0.1
    group_spread: float = 0.0
    share_spread: float = 0.0
    gains: tuple[float, ...] = ()
    is_accuracy: bool = False
    is_limit: bool = False


WORLDS = (
    World(name="200 clips", groups=200),
    World(name="100 clips, 10 positives each", groups=100, share=0.1),
    World(name="200 clips, 20 classes of 20 positives", groups=200, share=0.1,
          classes=20),
    World(name="100 clips, nearly all right", groups=100, separation=4.0),
    World(name="80 clips, seeds differ", groups=80, seed_spread=0.4),
    World(name="200 clips, one seed", groups=200, seeds=1, seed_spread=0.0),
    World(name="80 clips, accuracy", groups=80, is_accuracy=True),
    World(name="20 groups of 10", groups=20, clips=10, group_spread=0.5,
          share_spread=0.5),
    World(name="10 groups of 20", groups=10, clips=20, group_spread=0.5,
          share_spread=0.5),
    World(name="5 groups of 40", groups=5, clips=40, group_spread=0.5,
          share_spread=0.5),
    World(name="200 clips, gain", groups=200, gains=(0.4,)),
    World(name="10 groups of 20, gain", groups=10, clips=20, gains=(0.4,),
          group_spread=0.5, share_spread=0.5),
    World(name="60 clips, 3 positives each", groups=60, share=0.05),
    World(name="6 groups of 60, very alike", groups=6, clips=60, group_spread=1.0,
          share_spread=0.3, is_limit=True),
)  # fmt: skip

_RANKED = World(name="", groups=100, classes=2, seeds=2)
# Worlds in which encoders are ranked, and the number of data sets. An encoder separates
# equally well on each of them.
RANK_WORLDS = tuple(
    (dataclasses.replace(_RANKED, name=name, gains=tuple(gains)), datasets)
    for name, gains, datasets in (
        ("5 encoders, nearly alike", np.arange(1, 5) * 0.01, 1),
        ("5 encoders, close", np.arange(1, 5) * 0.15, 1),
        ("5 encoders, apart", np.arange(1, 5) * 0.6, 1),
        ("10 encoders, nearly alike", np.arange(1, 10) * 0.01, 1),
        ("5 encoders, nearly alike, 4 data sets", np.arange(1, 5) * 0.01, 4),
        ("5 encoders, close, 4 data sets", np.arange(1, 5) * 0.15, 4),
    )
)


@dataclass(frozen=True)
class Found:
    """What was counted in a world.

    Attributes:
        truth: The true score or gain, in points of 100.
        bias: The mean score minus the true one.
        share: The share of the report's intervals that hold the true score.
        width: The mean width of the report's intervals.
    """

    truth: float
    bias: float
    share: float
    width: float


def count(world: World, draws: int) -> Found:
    """Counts how often the intervals of a score, or of a gain, hold."""
    truth = true_score(world)
    values, ends = [], []
    for number in range(draws):
        *first, last = _scores_of_probes(world, number)
        estimate = _difference(last, *first)
        values.append(estimate.value)
        ends.append(estimate.interval(is_score=not world.gains))
    low, high = np.asarray(ends).T
    known = np.isfinite(low)
    return Found(
        truth,
        float(np.mean(values)) - truth,
        float(((low <= truth) & (truth <= high))[known].mean()),
        float(np.nanmean(high - low)),
    )


def count_ranks(world: World, datasets: int, draws: int) -> tuple[float, float]:
    """Counts how often intervals of mean ranks hold.

    Returns:
        The share of the intervals that hold, of the encoder for which it is least, and
        the mean width of all intervals.
    """
    # Those that separate more are better on all data sets, so on average.
    truth = 1 + np.arange(len(world.gains), -1, -1)
    holding, widths = [], []
    for number in range(draws):
        bounds = []
        for k in range(datasets):
            encoders = _scores_of_probes(world, number, k)
            differences = {
                (i, j): _difference(encoders[i], encoders[j])
                for i, j in itertools.combinations(range(len(encoders)), 2)
            }
            bounds.append(rankings.bounds(len(encoders), differences))
        low, high = np.mean(bounds, 0).T
        holding.append((low <= truth) & (truth <= high))
        widths.append(high - low)
    return float(np.mean(holding, 0).min()), float(np.mean(widths))


def true_score(world: World) -> float:
    """The score, or the difference of two, with endlessly many clips and seeds."""
    # Trainings at even distances of the normal distribution.
    places = (np.arange(MANY_SEEDS) + 0.5) / MANY_SEEDS
    effects = world.seed_spread * scipy.stats.norm.ppf(places)
    large = dataclasses.replace(
        world, groups=MANY_CLIPS // world.clips, seeds=1, seed_spread=0.0
    )
    if not world.is_accuracy:
        # Classes do not differ from each other.
        large = dataclasses.replace(large, classes=1)
    totals = []
    for number, effect in enumerate(effects):
        rng = np.random.default_rng([1, number])
        shifted = dataclasses.replace(large, separation=world.separation + effect)
        labels, _, probes = _test_split(shifted, rng)
        once = np.ones((1, len(labels)), np.uint8)
        scores = [_scores(world, p[0], labels, once)[0] for p in probes]
        totals.append(scores[1] - scores[0] if world.gains else scores[0])
    return 100 * float(np.mean(totals))


def _test_split(
    world: World, rng: np.random.Generator
) -> tuple[np.ndarray, list[str], list[np.ndarray]]:
    """A test split: labels, groups, and logits `[S, B, C]` of each probe."""
    groups, c = world.groups, world.classes
    of_clip = np.repeat(np.arange(groups), world.clips)
    n = len(of_clip)
    if world.is_accuracy:
        labels = np.eye(c, dtype=np.uint8)[rng.integers(c, size=n)]
    else:
        # The mean of the shares over groups stays as it is.
        middle = scipy.stats.norm.ppf(world.share) * np.hypot(1, world.share_spread)
        own = middle + world.share_spread * rng.normal(size=(groups, c))
        labels = rng.random((n, c)) < scipy.stats.norm.cdf(own)[of_clip]
        labels = labels.astype(np.uint8)
    shared = world.group_spread * rng.normal(size=(groups, c))[of_clip]
    shared = shared + np.sqrt(0.8) * rng.normal(size=(n, c))
    probes = []
    for gain in (0.0, *world.gains):
        effects = world.seed_spread * rng.normal(size=world.seeds)
        strength = world.separation + gain + effects
        noise = np.sqrt(0.2) * rng.normal(size=(world.seeds, n, c))
        logits = strength[:, None, None] * labels + shared + noise
        probes.append(logits.astype(np.float32))
    return labels, of_clip.astype(str).tolist(), probes


def _scores_of_probes(world: World, *number: int) -> list[np.ndarray]:
    """The scores `[S, 1 + J]` of each probe on a test split and without its blocks."""
    rng = np.random.default_rng([0, *number])
    labels, groups, probes = _test_split(world, rng)
    once = np.ones((1, len(labels)), np.uint8)
    counts = np.concatenate([once, block_counts(groups, rng)])
    return [
        100 * np.stack([_scores(world, x, labels, counts) for x in logits])
        for logits in probes
    ]


def _difference(scores: np.ndarray, *others: np.ndarray) -> Estimate:
    """The estimate of a score, or of how much higher it is than another one."""
    mean = scores.mean(0) - sum(x.mean(0) for x in others)
    clips = intervals.of_blocks(float(mean[0]), mean[1:])
    return intervals.combined(clips, scores[:, 0], *(x[:, 0] for x in others))


def _scores(
    world: World, logits: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    score = accuracies if world.is_accuracy else mean_average_precisions
    return score(logits, labels, counts)


def main(argv: Sequence[str]) -> None:
    """Prints a line per world, and fails if an interval does not hold."""
    del argv
    scores, ranks = _table("world", "truth", "bias"), _table("encoders")
    failed = []
    for world in WORLDS:
        found = count(world, DRAWS.value)
        if not world.is_limit and not LOWEST <= found.share <= HIGHEST:
            failed.append(world.name)
        name = world.name + " (limit)" * world.is_limit
        numbers = (f"{x:.2f}" for x in (found.truth, found.bias, found.width))
        scores.add_row(name, *numbers, f"{100 * found.share:.1f} %")
    for world, datasets in RANK_WORLDS:
        share, width = count_ranks(world, datasets, DRAWS.value)
        if share < LOWEST:
            failed.append(world.name)
        ranks.add_row(world.name, f"{width:.2f}", f"{100 * share:.1f} %")
    for table in (scores, ranks):
        Console(width=100).print(table)
    if failed:
        sys.exit(f"intervals do not hold: {', '.join(failed)}")


def _table(first: str, *columns: str) -> Table:
    """A table whose last columns are the width of intervals and how often they hold."""
    table = Table(first)
    for name in (*columns, "width", "holds"):
        table.add_column(name, justify="right")
    return table


if __name__ == "__main__":
    app.run(main)
