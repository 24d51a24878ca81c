"""95 % intervals of scores from draws of test clips and from the scores of seeds.

Percentiles of bootstrap draws are too narrow here: with 10 recordings or with 5 seeds
they hold the true score in 80 to 90 of 100 experiments. Three corrections bring this to
92 to 96 (`experiments/checks/coverage.py` counts):

* The variances of clips and of seeds are estimated apart, each without the bias of the
  bootstrap, `n / (n - 1)`, and the interval takes the quantile of Student's t with
  Satterthwaite's degrees of freedom.
* Average precision of few positives is too high on average. The draws tell by how much,
  and the interval is moved down by that.
* Scores lie between 0 and 100, so that their interval is computed for the log-odds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float

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

    def interval(self, *, is_score: bool) -> tuple[float, float]:
        """The 95 % interval; NaN if nothing varied, so that nothing is known.

        Args:
            is_score: Whether the value lies between 0 and 100, which a difference of
                two scores need not.
        """
        variance = self.variance
        if not variance > 0 or not math.isfinite(self.value):
            return math.nan, math.nan
        # Satterthwaite 1946.
        freedom = variance**2 / sum(v**2 / n for v, n in self.parts if v > 0)
        half = float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
        centre = self.value - self.bias
        if not is_score:
            return centre - half, centre + half
        share = min(max(centre, _NEAREST), 100 - _NEAREST) / 100
        odds, width = math.log(share / (1 - share)), half / 100 / (share * (1 - share))
        low, high = (100 / (1 + math.exp(-odds + s * width)) for s in (1, -1))
        return low, high


def of_draws(
    value: float, draws: Float[np.ndarray, " R"], units: Sequence[int]
) -> Estimate:
    """The estimate from draws of clips, groups or folds.

    Args:
        value: The value on all test clips.
        draws: The value in each draw. NaN is left out.
        units: The number of things that were drawn, for each fold.
    """
    known = draws[np.isfinite(draws)]
    count, freedom = sum(units), sum(n - 1 for n in units)
    if len(known) < 2 or freedom < 1:
        return Estimate(value, 0.0, ())
    variance = float(known.var(ddof=1)) * count / freedom
    return Estimate(value, float(known.mean()) - value, ((variance, freedom),))


def of_seeds(scores: Float[np.ndarray, " S"]) -> Estimate:
    """The estimate of the mean over seeds, from the scores of the seeds."""
    value, count = float(scores.mean()), len(scores)
    if count < 2:
        return Estimate(value, 0.0, ())
    return Estimate(value, 0.0, ((float(scores.var(ddof=1)) / count, count - 1),))


def joined(value: float, *estimates: Estimate) -> Estimate:
    """The estimate of a value with several sources of error that are independent."""
    return Estimate(
        value,
        sum(e.bias for e in estimates),
        tuple(part for e in estimates for part in e.parts),
    )


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The estimate of the mean of values that are independent of each other."""
    n = len(estimates)
    return Estimate(
        sum(e.value for e in estimates) / n,
        sum(e.bias for e in estimates) / n,
        tuple((v / n**2, freedom) for e in estimates for v, freedom in e.parts),
    )
