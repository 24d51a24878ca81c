"""Selection and report never share a split: the types of this file keep them apart.

`choose` takes validation scores and nothing else; a `HeldOutScore` is made only from a
`Choice` that was made before. Nothing here compares two test scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from unmute_jax import metrics
from unmute_jax.errors import InputError


@dataclass(frozen=True)
class ValidationScores:
    """Scores of `K` trials on the validation split, after each of `E` epochs."""

    epochs: tuple[int, ...]
    scores: Float[np.ndarray, "E K"]

    def reported(self, report_epoch: str) -> tuple[int, Float[np.ndarray, "K"]]:
        """The epoch to report, and the scores of all trials after it.

        Args:
            report_epoch: "last", or "best": the epoch whose best trial is best; of
                equals the later one, which is also the checkpoint that is kept.
        """
        if report_epoch == "last":
            return self.epochs[-1], self.scores[-1]
        per_epoch = _finite(self.scores).max(axis=1)
        best = int(np.flatnonzero(per_epoch == per_epoch.max())[-1])
        return self.epochs[best], self.scores[best]


@dataclass(frozen=True)
class Choice:
    """What validation chose: one trial of a stack, after one epoch."""

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


def choose(scores: ValidationScores, report_epoch: str) -> Choice:
    """The trial with the best validation score; the first one of equals.

    Raises:
        TypeError: for anything but validation scores.
        InputError: when no trial has a finite score (all diverged).
    """
    if not isinstance(scores, ValidationScores):
        raise TypeError(
            f"selection reads validation scores only, not {type(scores).__name__}"
        )
    epoch, at_epoch = scores.reported(report_epoch)
    if not np.isfinite(at_epoch).any():
        raise InputError(
            "every trial diverged (no finite validation score): "
            "lower config.optimizer.learning_rates"
        )
    trial = int(np.argmax(_finite(at_epoch)))
    return Choice(trial, epoch, float(at_epoch[trial]))


def score_held_out(
    choice: Choice,
    logits: Float[np.ndarray, "B C"],
    labels: Num[np.ndarray, "B C"],
    task: str,
) -> HeldOutScore:
    """The score of `choice` on the held-out clips."""
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
    """The metric of the task for each of K trials; NaN for one that diverged."""
    stacked = np.moveaxis(logits, 1, 0)
    if task == "multi-label":
        return metrics.mean_average_precision(stacked, labels).mean
    return metrics.top1_accuracy(stacked, labels)


def metric_name(task: str) -> str:
    """What `score` computes: mAP, or accuracy for single-label tasks."""
    return "mAP" if task == "multi-label" else "accuracy"


def _finite(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(scores), scores, -np.inf)
