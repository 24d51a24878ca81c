"""Recognises trainings that never left their start, whose scores are those of chance.

The logits of such a probe may be saturated, so that the gradient of the loss is zero
almost everywhere, or none of its prototypes may be near any token. Its score then says
nothing about the encoder.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Num

from unmute_jax.training.checkpoints import History
from unmute_jax.training.selection import Choice

# Outputs are equal if they differ by no more than this share of the largest one.
EQUAL = 1e-5
# The loss is flat if it fell by less than this share since the first evaluation.
FLAT = 0.01


def same_for_all(
    logits: Float[np.ndarray, "B K C"], task: str
) -> Bool[np.ndarray, " K"]:
    """Whether each trial gives all examples the same logits, or the same class.

    Args:
        logits: The logits of the validation examples.
        task: "multi-label"; or "single-label", where the class with the largest logit
            counts.
    """
    largest = np.abs(logits).max((0, 2), initial=0.0)
    spread = np.ptp(logits, axis=0).max(-1)
    equal = np.isfinite(spread) & (spread <= EQUAL * largest)
    if task == "single-label":
        named = logits.argmax(-1)
        equal |= (named == named[:1]).all(0) & np.isfinite(spread)
    return equal


def chance(labels: Num[np.ndarray, "B C"], task: str) -> float:
    """The score of a probe that has learnt nothing but which classes are frequent.

    Args:
        labels: One where a class is in an example.
        task: "multi-label", the mean share of positives of the classes that occur; or
            "single-label", the share of the most frequent class.
    """
    shares = labels.mean(0)
    if task == "single-label":
        return float(shares.max())
    return float(shares[shares > 0].mean()) if shares.any() else 0.0


def never_started(
    choice: Choice, history: History, labels: Num[np.ndarray, "B C"], task: str
) -> bool:
    """Whether the training of a trial never left its start.

    It did not if all validation examples get the same output. It did not, either, if
    the loss is flat and the validation score is not above chance by more than two
    standard errors. A trial that diverged is not such a training.

    Args:
        choice: The trial and its reported epoch.
        history: The history of its stack, as in `loop.Trained`.
        labels: The labels of the validation examples.
        task: The task, as for `chance`.
    """
    if not np.isfinite(choice.validation):
        return False
    if (labels == labels[:1]).all():
        return False  # With one class there is nothing to tell apart.
    for entry in history:
        if entry["epoch"] == choice.epoch and "same_for_all" in entry:
            if entry["same_for_all"][choice.trial]:
                return True
    losses = [entry["loss"][choice.trial] for entry in history]
    if len(losses) < 2 or losses[-1] < (1 - FLAT) * losses[0]:
        return False
    level = chance(labels, task)
    error = np.sqrt(level * (1 - level) / len(labels))
    return bool(choice.validation <= level + 2 * error)
