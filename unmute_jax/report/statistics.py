"""The statistics of a report: plain functions of arrays of scores, in points of 100.

Letters: E encoders, D data sets, P probes, N configurations (an encoder on a data set),
R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int


def wins(
    means: Float[np.ndarray, "P N"], sds: Float[np.ndarray, "P N"]
) -> Int[np.ndarray, "P P"]:
    """How often row beats column: by more than one standard deviation (paper, Fig. 5).

    The larger of both probes' standard deviations over seeds counts. Configurations
    that a probe lacks, or whose spread is not known, have NaN and decide nothing.
    """
    ahead = means[:, None] - means[None]
    spread = np.maximum(sds[:, None], sds[None])
    return (ahead > spread).sum(-1)


def ranks(scores: Float[np.ndarray, "*R E D"]) -> Float[np.ndarray, "*R E D"]:
    """The rank of each encoder on each data set: 1 is best, equals share the mean."""
    mine, others = scores[..., :, None, :], scores[..., None, :, :]
    above = (others > mine).sum(-2)
    equal = (others == mine).sum(-2)
    return above + (equal + 1) / 2


def spearman(
    a: Float[np.ndarray, "*R E"], b: Float[np.ndarray, "*R E"]
) -> Float[np.ndarray, "*R"]:
    """The correlation of ranks; NaN where one of both does not vary."""
    x, y = (ranks(v[..., None])[..., 0] for v in (a, b))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    return _ratio((x * y).sum(-1), scale)


def kendall(
    a: Float[np.ndarray, "*R E"], b: Float[np.ndarray, "*R E"]
) -> Float[np.ndarray, "*R"]:
    """Kendall's tau-b, which corrects for ties; NaN where one of both does not vary."""
    x, y = (np.sign(v[..., :, None] - v[..., None, :]) for v in (a, b))
    scale = np.sqrt((x**2).sum((-1, -2)) * (y**2).sum((-1, -2)))
    return _ratio((x * y).sum((-1, -2)), scale)


def gap_closed(probe: float, linear: float, fine_tuned: float) -> float:
    """The share of the way from linear to fine-tuning, in %; NaN where there is none.

    Below zero the probe is worse than linear, above 100 better than fine-tuning.
    """
    gap = fine_tuned - linear
    return 100 * (probe - linear) / gap if gap > 0 else math.nan


def interval(
    draws: Float[np.ndarray, "R"], centre: float | None = None
) -> tuple[float, float]:
    """The middle 95 % of resampled values.

    Args:
        draws: The values; NaN is left out.
        centre: The value of all clips, if the interval is to be moved to it: a draw
            holds some clips twice, which shifts average precision.
    """
    known = draws[np.isfinite(draws)]
    if not known.size:
        return math.nan, math.nan
    shift = 0.0 if centre is None else centre - known.mean()
    low, high = np.percentile(known, (2.5, 97.5)) + shift
    return float(low), float(high)


@dataclass(frozen=True)
class Sensitivity:
    """What a wrong learning rate costs, of one search.

    Attributes:
        best: The rate with the best validation score.
        loss: Factor -> points of validation score that are lost where the rate is
            wrong by it; NaN where no such rate was tried.
        at_edge: Whether `best` is the lowest or highest rate that was tried.
        diverged: The share of the trials.
        stopped: Likewise, before their last epoch.
        trials: How many.
    """

    best: float
    loss: Mapping[int, float]
    at_edge: bool
    diverged: float
    stopped: float
    trials: int


# How wrong a rate is assumed to be, and how far from that a trial may lie to tell.
FACTORS = (3, 10)
WINDOW = math.log(3) / 2


# Of a trial: epoch -> validation score, as a share.
History = Mapping[int, float | None]


def sensitivity(
    search: Sequence[Mapping[str, Any]], histories: Sequence[History] = ()
) -> Sensitivity | None:
    """What is lost where the learning rate is wrong by a factor of 3, and of 10.

    The loss at a factor f is the best validation score less the best of those trials
    whose rate is within a factor sqrt(3) of f times the best rate; of that and of the
    same at a f-th of it, the mean. A trial that diverged scores zero there. One that
    was stopped counts as if it had kept its distance to the best trial at that epoch;
    where no histories are known, with the score it had.

    Args:
        search: Trials with a learning_rate, a validation score (a share; None:
            diverged) and maybe a status and epochs, of one search.
        histories: Of the same trials; none where they were not kept.

    Returns:
        None where fewer than two rates were tried, or all diverged.
    """
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
        scores += [_expected(t, search[top], histories[top]) for t in search]
        # Those that were stopped may have been ahead for a while.
        scores = np.minimum(scores, scores[top])

    def loss(factor: int) -> float:
        found = []
        for wanted in (rates[top] - math.log(factor), rates[top] + math.log(factor)):
            near = scores[np.abs(rates - wanted) <= WINDOW + 1e-9]
            if near.size:
                found.append(scores[top] - near.max())
        return float(np.mean(found)) if found else math.nan

    return Sensitivity(
        best=float(search[top]["learning_rate"]),
        loss={factor: loss(factor) for factor in FACTORS},
        at_edge=bool(rates[top] in (rates.min(), rates.max())),
        diverged=kinds.count("diverged") / len(kinds),
        stopped=kinds.count("stopped") / len(kinds),
        trials=len(kinds),
    )


def _expected(
    trial: Mapping[str, Any], best: Mapping[str, Any], of_best: History
) -> float:
    """What the best trial gained after the epoch at which this one was stopped."""
    then = of_best.get(int(trial.get("epochs") or 0))
    if status(trial) != "stopped" or then is None:
        return 0.0
    return max(0.0, validation(best) - 100 * then)


def status(trial: Mapping[str, Any]) -> str:
    """What became of a trial: "finished", "stopped" or "diverged"."""
    if trial.get("validation") is None:
        return "diverged"
    return str(trial.get("status", "finished"))


def validation(trial: Mapping[str, Any]) -> float:
    """The validation score in points of 100; zero for a trial that diverged."""
    return 0.0 if status(trial) == "diverged" else 100 * float(trial["validation"])


def _ratio(a: Any, b: Any) -> np.ndarray:
    """`a / b`, NaN where `b` is zero."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.full_like(a, math.nan), where=b > 0)
