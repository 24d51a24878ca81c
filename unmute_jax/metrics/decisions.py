"""Right and wrong decisions: their counts, and how far scores are probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

# An onset and an offset in seconds.
Span = tuple[float, float]


class Counts(NamedTuple):
    """Counts of decisions for each class.

    Attributes:
        true_positives: Decisions for a class that is there.
        false_positives: Decisions for a class that is not there.
        false_negatives: Decisions against a class that is there.
    """

    true_positives: Int[np.ndarray, "C"]
    false_positives: Int[np.ndarray, "C"]
    false_negatives: Int[np.ndarray, "C"]


class Rates(NamedTuple):
    """Precision, recall and F1 of each class; NaN where there is nothing to divide by.

    Attributes:
        precision: The share of the decisions for a class that are right.
        recall: The share of what is there that is found.
        f1: The harmonic mean of the two, `2 TP / (2 TP + FP + FN)`.
    """

    precision: Float[np.ndarray, "C"]
    recall: Float[np.ndarray, "C"]
    f1: Float[np.ndarray, "C"]


class Calibration(NamedTuple):
    """Scores in bins of equal width, beside the share of true ones.

    Attributes:
        edges: The edges of the bins, from 0 to 1.
        counts: The number of scores in each bin.
        mean_scores: Their mean; NaN for an empty bin.
        true_shares: The share of them that belongs to a true class; NaN for an empty
            bin.
    """

    edges: Float[np.ndarray, "_"]
    counts: Int[np.ndarray, "_"]
    mean_scores: Float[np.ndarray, "_"]
    true_shares: Float[np.ndarray, "_"]


def count_decisions(
    decided: Bool[np.ndarray, "N C"], true: Bool[np.ndarray, "N C"]
) -> Counts:
    """Counts decisions for and against each class.

    Args:
        decided: Whether each of N windows was found to have each of C classes.
        true: Whether it has the class.
    """
    return Counts(
        true_positives=(decided & true).sum(0),
        false_positives=(decided & ~true).sum(0),
        false_negatives=(~decided & true).sum(0),
    )


def rates(counts: Counts) -> Rates:
    """Returns precision, recall and F1."""
    tp, fp, fn = (np.asarray(count, np.float64) for count in counts)
    return Rates(
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
    )


def overlapping(spans: Sequence[Span], others: Sequence[Span]) -> int:
    """Counts the stretches of time that overlap with one of some others.

    Args:
        spans: The stretches that are counted.
        others: The others. A point overlaps with a stretch that contains it.
    """
    return sum(
        any(
            max(a, c) < min(b, d) or (c <= a == b <= d) or (a <= c == d <= b)
            for c, d in others
        )
        for a, b in spans
    )


def calibration(
    scores: Float[np.ndarray, "*N"], true: Bool[np.ndarray, "*N"], bins: int = 10
) -> Calibration:
    """Sorts scores into bins, and compares each bin with the truth.

    If scores are probabilities, the share of true ones in a bin is its mean score.

    Args:
        scores: Scores in [0, 1], of any shape.
        true: Whether what is scored is true, of the same shape.
        bins: The number of bins.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_of = np.clip((scores.ravel() * bins).astype(int), 0, bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    sums = np.bincount(bin_of, scores.ravel().astype(np.float64), bins)
    hits = np.bincount(bin_of, true.ravel().astype(np.float64), bins)
    return Calibration(edges, counts, _ratio(sums, counts), _ratio(hits, counts))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
