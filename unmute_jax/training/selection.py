"""Chooses trials and epochs on the validation split, and scores them on the test split.

Selection and report never share a split, and the types of this module keep them apart:
`choose` takes validation scores and nothing else, and a `HeldOutScore` is made only
from a `Choice` that was made before. Nothing here compares two test scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from unmute_jax import metrics
from unmute_jax.errors import InputError


@dataclass(frozen=True)
class ValidationScores:
    """Scores of `K` trials on the validation split after each of `E` epochs.

    Attributes:
        epochs: The epochs after which trials were evaluated.
        scores: The scores, shape `[E, K]`; NaN after a trial has diverged.
    """

    epochs: tuple[int, ...]
    scores: Float[np.ndarray, "E K"]


@dataclass(frozen=True)
class Choice:
    """A trial of a stack after one of its epochs, chosen on the validation split."""

    trial: int
    epoch: int
    validation: float


@dataclass(frozen=True)
class HeldOutScore:
    """A score on held-out clips, of something that was chosen without them."""

    choice: Choice
    value: float
    per_class: tuple[float | None, ...]
    masked_classes: int


def best_evaluations(scores: Float[np.ndarray, "E K"]) -> Int[np.ndarray, "K"]:
    """The row of each trial's best score.

    On ties the later row wins; without any finite score it is the last row.
    """
    ranked = np.where(np.isfinite(scores), scores, -np.inf)
    return len(scores) - 1 - np.argmax(ranked[::-1], axis=0)


def choices(scores: ValidationScores, report_epoch: str) -> list[Choice]:
    """The epoch that is reported of each trial, with its validation score.

    Args:
        scores: The scores of all trials.
        report_epoch: "last"; or "best", which is each trial's own best epoch.
    """
    count = scores.scores.shape[1]
    rows = np.full(count, len(scores.epochs) - 1)
    if report_epoch == "best":
        rows = best_evaluations(scores.scores)
    return [
        Choice(k, scores.epochs[row], float(scores.scores[row, k]))
        for k, row in enumerate(rows)
    ]


def choose(scores: ValidationScores, report_epoch: str, advice: str = "") -> Choice:
    """The trial with the best validation score; on ties, the earlier trial wins.

    Args:
        scores: The scores of all trials.
        report_epoch: The epoch of each trial that counts, as for `choices`.
        advice: What the user can do if all trials diverged, for the message.

    Raises:
        TypeError: These are not validation scores.
        InputError: No trial has a finite score, because all diverged.
    """
    if not isinstance(scores, ValidationScores):
        raise TypeError(
            f"selection reads validation scores only, not {type(scores).__name__}"
        )
    best = max(choices(scores, report_epoch), key=lambda c: rank(c.validation))
    if not math.isfinite(best.validation):
        diverged = "every trial diverged (no finite validation score)"
        raise InputError(f"{diverged}: {advice}" if advice else diverged)
    return best


def rank(score: float | None) -> float:
    """A key to sort scores by: what has diverged is worse than everything else."""
    return score if score is not None and math.isfinite(score) else -math.inf


def score_held_out(
    choice: Choice,
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    task: str,
) -> HeldOutScore:
    """The score of `choice` on the held-out clips.

    Args:
        choice: The choice that was made on the validation split.
        logits: The logits of the chosen trial.
        labels: One where a class is in the clip.
        task: "multi-label" or "single-label".
    """
    if not isinstance(choice, Choice):
        raise TypeError("a test score needs a Choice made on the validation split")
    ap = metrics.mean_average_precision(logits, labels)
    per_class = tuple(None if np.isnan(p) else float(p) for p in ap.per_class)
    value = score(logits[:, None], labels, task)[0]
    return HeldOutScore(choice, float(value), per_class, ap.masked)


def score(
    logits: Float[np.ndarray, "B K C"],
    labels: Num[np.ndarray, "B C"],
    task: str,
) -> Float[np.ndarray, "K"]:
    """The metric of the task for each of `K` trials; NaN for one that diverged."""
    stacked = np.moveaxis(logits, 1, 0)
    if task == "multi-label":
        return metrics.mean_average_precision(stacked, labels).mean
    return metrics.top1_accuracy(stacked, labels)


def metric_name(task: str) -> str:
    """The name of the metric: mAP, or accuracy for single-label tasks."""
    return "mAP" if task == "multi-label" else "accuracy"
