"""What a frame-wise probe is asked beyond the average precision of its time steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special
from jaxtyping import Float

from unmute_jax import metrics
from unmute_jax.config import Frames
from unmute_jax.metrics.events import event_f1, has_sed_eval
from unmute_jax.metrics.frames import events_in, smoothed, united
from unmute_jax.training.batches import ProbeData

CLIP_MAP, EVENT_F1 = "clip mAP", "event F1"


def thresholds(
    logits: Float[np.ndarray, "n T C"], validation: ProbeData, options: Frames
) -> Float[np.ndarray, "C"]:
    """From which probability on each class is there.

    The given one for all classes, or for each class the one with the best F1 over the
    time steps of the validation clips; 0.5 for a class that is in none of them.
    """
    if options.threshold is not None:
        return np.full(logits.shape[-1], options.threshold, np.float32)
    found, truth = validation.flatten_valid(
        _probabilities(logits, validation, options)[:, None]
    )
    best = metrics.best_thresholds(found[:, 0], truth)
    return np.where(np.isnan(best), np.float32(0.5), best)


def scores(
    logits: Float[np.ndarray, "n T C"],
    clips: ProbeData,
    least: Float[np.ndarray, "C"],
    classes: Sequence[str],
    options: Frames,
) -> dict[str, float]:
    """The clip mAP, and the event-based F1 where `sed_eval` is installed.

    Args:
        logits: Of the time steps of all clips.
        clips: Labels and events.
        least: Of `thresholds`.
        classes: Names.
        options: How events are made of scores, and when they are right. Events of a
            class that overlap are one, in the truth as in what is found.
    """
    real = clips.weights > 0
    highest = np.where(real[:, :, None], logits, -np.inf).max(1)
    made = {CLIP_MAP: float(metrics.mean_average_precision(highest, clips.labels).mean)}
    if has_sed_eval():
        active = _probabilities(logits, clips, options) >= least
        found = [
            events_in(a, clips.seconds_per_step) for a in active & real[:, :, None]
        ]
        made[EVENT_F1] = event_f1(
            found,
            [list(united(events)) for events in clips.events],
            classes,
            collar=options.collar,
            offset_share=options.offset_share,
        )
    return made


def _probabilities(
    logits: Float[np.ndarray, "n T C"], clips: ProbeData, options: Frames
) -> Float[np.ndarray, "n T C"]:
    """Smoothed, where that is asked for."""
    plain = scipy.special.expit(logits)
    return smoothed(plain, options.median_seconds, clips.seconds_per_step)
