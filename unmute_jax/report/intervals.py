"""95 % intervals of scores, by the jackknife over test clips and from scores of seeds.

The score is computed again without each of up to 50 blocks of clips (or of groups of
clips). How these scores vary tells how much the score would vary with other clips, and
how they lie beside the whole score tells by how much it is too high on average, as
average precision of few positives is (Quenouille 1956, Tukey 1958). Seeds add a
variance of their own. The interval takes the quantile of Student's t with
Satterthwaite's degrees of freedom, and is computed for the log-odds of a score, which
lies between 0 and 100.

`experiments/checks/coverage.py` counts how often such an interval holds the true score.
Plain percentiles of the bootstrap are too narrow with few groups or seeds, and they
move to the wrong side of the bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float
from scipy.special import expit

# Scores of 0 and 100 have no log-odds; the nearest that are used, in points.
_NEAREST = 0.1


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of scores, and how well it is known.

    Attributes:
        value: The value, in points of 100.
        bias: By how much it is too high on average.
        parts: The variance of each source of error, with its degrees of freedom.
    """

    value: float
    bias: float
    parts: tuple[tuple[float, int], ...]

    @property
    def variance(self) -> float:
        """The variance of the value."""
        return sum((variance for variance, _ in self.parts), 0.0)

    def interval(self, *, is_score: bool, comparisons: int = 1) -> tuple[float, float]:
        """The 95 % interval; NaN if nothing varied, so that nothing is known.

        Args:
            is_score: Whether the value lies between 0 and 100, which a difference of
                two scores need not.
            comparisons: Number of intervals that shall all hold in 95 % of cases
                (Bonferroni's correction).
        """
        variance = self.variance
        if not variance > 0 or not math.isfinite(self.value):
            return math.nan, math.nan
        # Satterthwaite 1946.
        freedom = variance**2 / sum(v**2 / n for v, n in self.parts if v > 0)
        quantile = float(scipy.stats.t.ppf(1 - 0.025 / comparisons, freedom))
        half = quantile * math.sqrt(variance)
        centre = self.value - self.bias
        if not is_score:
            return centre - half, centre + half
        share = min(max(centre, _NEAREST), 100 - _NEAREST) / 100
        odds, width = math.log(share / (1 - share)), half / 100 / (share * (1 - share))
        low, high = (100 * float(expit(odds - s * width)) for s in (1, -1))
        return low, high


def of_blocks(value: float, left_out: Float[np.ndarray, " J"]) -> Estimate:
    """The estimate from scores that were computed without a part of the clips.

    Args:
        value: The value on all test clips.
        left_out: The value without each of J blocks of equal size.
    """
    j = len(left_out)
    if j < 2:
        return Estimate(value, 0.0, ())
    variance = (j - 1) * float(left_out.var())
    return Estimate(
        value, (j - 1) * (float(left_out.mean()) - value), ((variance, j - 1),)
    )


def of_seeds(scores: Float[np.ndarray, " S"]) -> Estimate:
    """The estimate of the mean over seeds, from the scores of the seeds."""
    value, count = float(scores.mean()), len(scores)
    if count < 2:
        return Estimate(value, 0.0, ())
    return Estimate(value, 0.0, ((float(scores.var(ddof=1)) / count, count - 1),))


def combined(clips: Estimate, *seeds: np.ndarray) -> Estimate:
    """The estimate of a value whose errors from clips and seeds are independent.

    Args:
        clips: The estimate from clips alone, of the mean over seeds.
        *seeds: The scores of the seeds, shape `[S]`. A difference of two probes has
            those of both.
    """
    parts = tuple(part for scores in seeds for part in of_seeds(scores).parts)
    return Estimate(clips.value, clips.bias, (*clips.parts, *parts))


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate of the mean of values that are independent of each other."""
    n = len(estimates)
    return Estimate(
        sum(e.value for e in estimates) / n,
        sum(e.bias for e in estimates) / n,
        tuple((v / n**2, freedom) for e in estimates for v, freedom in e.parts),
    )
