"""Statistics of a report, as functions of arrays of scores in points of 100.

Dimension letters: `E` encoders, `D` data sets, `P` probes, `N` configurations (an
encoder on a data set), `R` rankings. A training that diverged has no score (NaN) and
counts as worse than every other one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from unmute_jax.results.ranges import at_edge


def wins(
    means: Float[np.ndarray, "P N"],
    sds: Float[np.ndarray, "P N"],
    diverged: Bool[np.ndarray, "P N"],
) -> Int[np.ndarray, "P P"]:
    """Counts how often the probe of a row beats the probe of a column.

    A probe wins a configuration if its mean is higher by more than one standard
    deviation over seeds, the larger one of the two probes (Figure 5 of the paper). It
    also wins if it has a mean and the other probe diverged.

    Args:
        means: Mean scores; NaN where a probe was not run or diverged.
        sds: Standard deviations over seeds; a NaN decides nothing.
        diverged: Whether the probe diverged in this configuration.
    """
    lead = means[:, None] - means[None]
    spread = np.maximum(sds[:, None], sds[None])
    is_ahead = (lead > spread) | (np.isfinite(means)[:, None] & diverged[None])
    return is_ahead.sum(-1)


def ranks(scores: Float[np.ndarray, "*R E D"]) -> Float[np.ndarray, "*R E D"]:
    """Ranks the encoders on each data set.

    Rank 1 is best, and tied encoders share the mean of their ranks. A NaN ranks last.
    """
    # SciPy would return NaN for every encoder if one of them is NaN.
    comparable = np.where(np.isnan(scores), -np.inf, scores)
    return scipy.stats.rankdata(-comparable, axis=-2)


def spearman(
    a: Float[np.ndarray, "*R E"], b: Float[np.ndarray, "*R E"]
) -> Float[np.ndarray, "*R"]:
    """Computes Spearman's correlation; NaN if `a` or `b` is constant."""
    # `scipy.stats.spearmanr` correlates one pair of vectors per call, which is slow.
    x, y = (scipy.stats.rankdata(v, axis=-1) for v in (a, b))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        return np.asarray(scipy.stats.pearsonr(x, y, axis=-1)[0])


def kendall(
    a: Float[np.ndarray, "*R E"], b: Float[np.ndarray, "*R E"]
) -> Float[np.ndarray, "*R"]:
    """Computes Kendall's tau-b, which corrects for ties; NaN if an input is constant.

    The result is that of `scipy.stats.kendalltau`, which takes one pair per call.
    """
    x, y = (np.sign(v[..., :, None] - v[..., None, :]) for v in (a, b))
    scale = np.sqrt((x**2).sum((-1, -2)) * (y**2).sum((-1, -2)))
    concordance = np.asarray((x * y).sum((-1, -2)))
    undefined = np.full_like(concordance, math.nan)
    return np.divide(concordance, scale, out=undefined, where=scale > 0)


def gap_closed(probe: float, linear: float, fine_tuned: float) -> float:
    """The share of the gap from linear to fine-tuning that a probe closes, in %.

    It is negative for a probe that is worse than linear, above 100 for one that is
    better than fine-tuning, and NaN if fine-tuning is no better than linear.
    """
    gap = fine_tuned - linear
    return 100 * (probe - linear) / gap if gap > 0 else math.nan


@dataclass(frozen=True)
class Sensitivity:
    """What a wrong learning rate costs in one search.

    Attributes:
        best: The learning rate with the best validation score.
        loss: For each factor, the points of validation score that are lost if the
            rate is wrong by that factor; NaN if no such rate was tried.
        at_edge: Whether `best` is at the edge of the range that was searched.
        diverged: The share of trials that diverged.
        stopped: The share of trials that were stopped before their last epoch.
        trials: The number of trials.
    """

    best: float
    loss: Mapping[int, float]
    at_edge: bool
    diverged: float
    stopped: float
    trials: int


# The factors by which a learning rate is assumed to be wrong, and how far (as a
# logarithm) a trial may lie from that rate to stand for it.
FACTORS = (3, 10)
WINDOW = math.log(3) / 2


# The validation scores of a trial by epoch, as shares of 1.
History = Mapping[int, float | None]


def sensitivity(
    search: Sequence[Mapping[str, Any]],
    histories: Sequence[History] = (),
    ends: tuple[float, float] | None = None,
) -> Sensitivity | None:
    """Measures what is lost if the learning rate is wrong by a factor of 3, and of 10.

    The loss at a factor f is the best validation score minus the best score among the
    trials whose rate is within a factor sqrt(3) of f times the best rate; the same is
    computed for the best rate divided by f, and the two losses are averaged. A trial
    that diverged scores zero. A trial that was stopped counts as if its distance to
    the best trial had stayed the same since that epoch; without histories it counts
    with the score that it had.

    Args:
        search: The trials of one search. Each has a learning_rate, a validation score
            (a share of 1, or None if it diverged), and possibly a status and epochs.
        histories: The histories of the same trials, or nothing if they are unknown.
        ends: The lowest and the highest rate of the range that was searched. None
            stands for those that were tried.

    Returns:
        None if fewer than two rates were tried, or if all trials diverged.
    """
    if not all("learning_rate" in t for t in search):
        return None  # A probe that is fitted chooses among other things.
    rates = np.log([float(t["learning_rate"]) for t in search])
    scores = np.asarray([validation(t) for t in search])
    kinds = [status(t) for t in search]
    finished = [
        s if k == "finished" else -1.0 for s, k in zip(scores, kinds, strict=True)
    ]
    if len(set(rates.tolist())) < 2 or max(finished) < 0:
        return None
    top = int(np.argmax(finished))
    if histories:
        scores += [_expected_gain(t, search[top], histories[top]) for t in search]
        # A trial that was stopped may have been ahead of the best one for a while.
        scores = np.minimum(scores, scores[top])

    def loss(factor: int) -> float:
        losses = []
        for wanted in (rates[top] - math.log(factor), rates[top] + math.log(factor)):
            near = scores[np.abs(rates - wanted) <= WINDOW + 1e-9]
            if near.size:
                losses.append(scores[top] - near.max())
        return float(np.mean(losses)) if losses else math.nan

    return Sensitivity(
        best=float(search[top]["learning_rate"]),
        loss={factor: loss(factor) for factor in FACTORS},
        at_edge=at_edge(
            float(search[top]["learning_rate"]),
            ends or tuple(np.exp([rates.min(), rates.max()]).tolist()),
        ),
        diverged=kinds.count("diverged") / len(kinds),
        stopped=kinds.count("stopped") / len(kinds),
        trials=len(kinds),
    )


def _expected_gain(
    trial: Mapping[str, Any], best: Mapping[str, Any], of_best: History
) -> float:
    """How much the best trial gained after the epoch at which `trial` was stopped."""
    then = of_best.get(int(trial.get("epochs") or 0))
    if status(trial) != "stopped" or then is None:
        return 0.0
    return max(0.0, validation(best) - 100 * then)


def status(trial: Mapping[str, Any]) -> str:
    """How a trial ended: "finished", "stopped" or "diverged"."""
    score = trial.get("validation")
    if score is None or not math.isfinite(score):
        return "diverged"
    return str(trial.get("status", "finished"))


def validation(trial: Mapping[str, Any]) -> float:
    """The validation score in points of 100; zero for a trial that diverged."""
    return 0.0 if status(trial) == "diverged" else 100 * float(trial["validation"])
