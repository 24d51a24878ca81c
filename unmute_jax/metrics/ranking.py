"""Average precision, accuracy and best thresholds, for many trials at once.

Computed with NumPy on the host. A trial that diverged, that is, with any score that is
not finite, has NaN for its results; the other trials are not affected.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Num

from unmute_jax.errors import InputError

# Number of scores ranked at once: enough to be fast, few enough to stay in the cache.
_BLOCK = 1 << 20


class MeanAP(NamedTuple):
    """The result of `mean_average_precision`.

    Attributes:
        mean: Mean over the classes with a positive clip, shape `[...]`; NaN if no class
            has one.
        per_class: Average precision of each class, shape `[..., C]`; NaN for classes
            without a positive clip.
        masked: Number of classes without a positive clip, which `mean` leaves out.
    """

    mean: Float[np.ndarray, "*K"]
    per_class: Float[np.ndarray, "*K C"]
    masked: int


def mean_average_precision(
    scores: Num[np.ndarray, "*K B C"], labels: Num[np.ndarray, "_ _"]
) -> MeanAP:
    """Mean over classes of the average precision over clips.

    Args:
        scores: Scores of the clips, shape `[..., B, C]`; higher means more likely. The
            leading axes are trials.
        labels: Labels 0 or 1, shape `[B, C]`, the same for all trials.

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
    """The share of the clips whose class with the highest score is a true one.

    On ties, the first class wins. Arguments and errors are those of
    `mean_average_precision`.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    positive = _check(scores, labels)
    hits = positive[np.arange(len(positive)), scores.argmax(-1)].mean(-1)
    return np.where(np.isfinite(scores).all((-2, -1)), hits, np.nan)


def best_thresholds(
    scores: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    *,
    beta: float = 1.0,
) -> Float[np.ndarray, "C"]:
    """The threshold of each class with the best F score.

    A threshold lies half way between the lowest score above it and the next lower one;
    on ties, the highest threshold wins. A class without a positive clip, or with a
    score that is not finite, has NaN.

    Args:
        scores: Scores of the clips, shape `[B, C]`.
        labels: Labels 0 or 1, shape `[B, C]`.
        beta: Weight of recall against precision: 1 for F1, above 1 to miss less, below
            1 to be wrong less often.
    """
    columns = zip(scores.T, labels.T > 0, strict=True)
    return np.asarray([_best_threshold(s, y, beta) for s, y in columns], np.float32)


def _average_precision(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`sum_k (recall_k - recall_{k-1}) * precision_k` of each row, `[R, B] -> [R]`.

    The index k runs over the distinct scores, so that equal scores are counted
    together, as in scikit-learn's `average_precision_score`. Rows without a positive
    have NaN.
    """
    order = np.argsort(-scores, axis=-1)
    ranked = np.take_along_axis(scores, order, -1)
    hits = np.take_along_axis(positive, order, -1).cumsum(-1)
    last_of_ties = np.ones(scores.shape, bool)
    last_of_ties[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    # Hits up to the previous distinct score. Hits never decrease, so a running maximum
    # carries the last marked value forward.
    marked = np.maximum.accumulate(np.where(last_of_ties, hits, 0), axis=-1)
    gained = hits - np.pad(marked, ((0, 0), (1, 0)))[:, :-1]
    precision = hits / np.arange(1, scores.shape[-1] + 1)
    total = np.where(last_of_ties, gained * precision, 0.0).sum(-1)
    count = hits[:, -1]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _check(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels as booleans, after a check of shapes and values."""
    if labels.ndim != 2 or scores.shape[-2:] != labels.shape or not len(labels):
        raise InputError(
            f"scores must be [..., clips, classes] and labels [clips, classes] of at "
            f"least one clip; got {scores.shape} and {labels.shape}"
        )
    positive = labels == 1
    if not (positive | (labels == 0)).all():
        raise InputError("labels must be 0 or 1")
    return positive


def _best_threshold(scores: np.ndarray, positive: np.ndarray, beta: float) -> float:
    if not positive.any() or not np.isfinite(scores).all():
        return math.nan
    order = np.argsort(-scores)
    ranked, hits = scores[order], positive[order].cumsum()
    weight = beta**2
    chosen = np.arange(1, len(hits) + 1)
    f_score = (1 + weight) * hits / (chosen + weight * positive.sum())
    # A threshold cannot separate equal scores: it lies behind the last of them.
    f_score[:-1][ranked[:-1] == ranked[1:]] = -1
    last = int(f_score.argmax())
    lower = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + lower) / 2)
