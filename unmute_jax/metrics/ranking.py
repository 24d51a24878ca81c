"""Scores of predictions against labels, on the host, for many trials at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from unmute_jax.errors import InputError

# Scores ranked at once: enough to be fast, little enough to stay in the cache.
_BLOCK = 1 << 20


class MeanAP(NamedTuple):
    """The outcome of `mean_average_precision`.

    Attributes:
        mean: `[...]`, over the classes with a positive; NaN where there is none.
        per_class: `[..., C]`, NaN for classes without a positive.
        masked: Number of classes without a positive, which `mean` leaves out.
    """

    mean: Float[np.ndarray, "*K"]
    per_class: Float[np.ndarray, "*K C"]
    masked: int


def mean_average_precision(
    scores: Num[np.ndarray, "*K B C"], labels: Num[np.ndarray, "_ _"]
) -> MeanAP:
    """Mean over classes of the average precision over clips.

    Args:
        scores: Higher means more likely; leading axes are trials. A trial with a score
            that is not finite has NaN for its results: it diverged, the others did not.
        labels: 0 or 1, the same for all trials.

    Raises:
        InputError: The shapes do not match, or a label is neither 0 nor 1.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    positive = _check(scores, labels)
    *trials, b, c = scores.shape
    rows = np.moveaxis(scores.reshape(-1, b, c), 1, 2).reshape(-1, b)
    truths = np.ascontiguousarray(positive.T)
    step = max(1, _BLOCK // max(b, 1))
    parts = [
        _average_precision(
            rows[i : i + step], truths[np.arange(i, min(i + step, len(rows))) % c]
        )
        for i in range(0, len(rows), step)
    ]
    per_class = np.concatenate(parts).reshape(*trials, c)
    per_class[~np.isfinite(scores).all((-2, -1))] = np.nan
    known = positive.any(0)
    mean = per_class[..., known].sum(-1) / max(known.sum(), 1)
    mean = np.where(known.any(), mean, np.nan)
    return MeanAP(mean=mean, per_class=per_class, masked=int(c - known.sum()))


def top1_accuracy(
    scores: Num[np.ndarray, "*K B C"], labels: Num[np.ndarray, "_ _"]
) -> Float[np.ndarray, "*K"]:
    """Share of the clips whose highest score (the first of equals) is a true class.

    Trials and errors as in `mean_average_precision`.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    positive = _check(scores, labels)
    hits = positive[np.arange(len(positive)), scores.argmax(-1)].mean(-1)
    return np.where(np.isfinite(scores).all((-2, -1)), hits, np.nan)


def best_thresholds(
    scores: Float[np.ndarray, "B C"], labels: Num[np.ndarray, "B C"]
) -> Float[np.ndarray, "C"]:
    """The threshold of each class with the best F1 score; NaN without a positive.

    It lies half way between the lowest score that counts as heard and the next lower
    one; of equally good ones it is the highest.
    """
    columns = zip(scores.T, labels.T > 0, strict=True)
    return np.asarray([_best_threshold(s, y) for s, y in columns], np.float32)


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`sum_k (recall_k - recall_{k-1}) * precision_k` of each row, `[R, B] -> [R]`.

    k runs over the distinct scores, so equal scores are taken together; this is
    scikit-learn's `average_precision_score`. NaN for rows without a positive.
    """
    order = np.argsort(-scores, axis=-1)
    ranked = np.take_along_axis(scores, order, -1)
    hits = np.take_along_axis(positive, order, -1).cumsum(-1)
    last_of_equals = np.ones(scores.shape, bool)
    last_of_equals[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    # Hits up to the previous distinct score: hits never fall, so a running maximum
    # carries the last marked value along.
    marked = np.maximum.accumulate(np.where(last_of_equals, hits, 0), axis=-1)
    gained = hits - np.pad(marked, ((0, 0), (1, 0)))[:, :-1]
    precision = hits / np.arange(1, scores.shape[-1] + 1)
    total = np.where(last_of_equals, gained * precision, 0.0).sum(-1)
    count = hits[:, -1]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels as booleans."""
    if labels.ndim != 2 or scores.shape[-2:] != labels.shape or not len(labels):
        raise InputError(
            f"scores must be [..., clips, classes] and labels [clips, classes] of at "
            f"least one clip; got {scores.shape} and {labels.shape}"
        )
    positive = labels == 1
    if not (positive | (labels == 0)).all():
        raise InputError("labels must be 0 or 1")
    return positive


def _best_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    if not positive.any():
        return math.nan
    order = np.argsort(-scores)
    ranked, hits = scores[order], positive[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + positive.sum())
    # Equal scores are heard together: only behind the last of them can be cut.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    last = int(f1.argmax())
    lower = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + lower) / 2)
