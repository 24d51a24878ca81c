"""Scores of frame-wise probes beyond the average precision of their time steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from unmute_jax import metrics
from unmute_jax.config import Frames
from unmute_jax.training.data import ProbeData

CLIP_MAP, EVENT_F1 = "clip mAP", "event F1"
# The threshold of a class that no validation clip has.
DEFAULT_THRESHOLD = np.float32(0.5)


def thresholds(
    logits: Float[np.ndarray, "n T C"], validation: ProbeData, options: Frames
) -> Float[np.ndarray, "C"]:
    """The probability from which each class counts as active.

    If `options.threshold` is set, this is it. Otherwise each class has the threshold
    with the best F1 over the time steps of the validation clips, or 0.5 if it is in
    none of them.

    Args:
        logits: The logits of all time steps of the validation clips.
        validation: The validation clips.
        options: The settings for frame-wise labels.
    """
    if options.threshold is not None:
        return np.full(logits.shape[-1], options.threshold, np.float32)
    probabilities = _probabilities(logits, validation, options)
    rows, truth = validation.flatten_valid(probabilities[:, None])
    best = metrics.best_thresholds(rows[:, 0], truth)
    return np.where(np.isnan(best), DEFAULT_THRESHOLD, best)


def scores(
    logits: Float[np.ndarray, "n T C"],
    clips: ProbeData,
    least: Float[np.ndarray, "C"],
    classes: Sequence[str],
    options: Frames,
) -> dict[str, float]:
    """The clip mAP and, if `sed_eval` is installed, the event-based F1.

    Both are NaN if a logit of a real time step is not finite.

    Args:
        logits: The logits of all time steps of the clips.
        clips: The clips, with labels and events.
        least: The probability from which each class is active, from `thresholds`.
        classes: The names of the classes.
        options: How events are made of scores and when they are correct. Overlapping
            events of a class are merged, both detected and annotated ones.
    """
    real = clips.weights > 0
    # The lowest finite number, so that a clip without real time steps comes last.
    lowest = np.finfo(logits.dtype).min
    of_clips = np.where(real[:, :, None], logits, lowest).max(1)
    average = metrics.mean_average_precision(of_clips, clips.labels)
    result = {CLIP_MAP: float(average.mean)}
    if not metrics.has_sed_eval():
        return result
    if not np.isfinite(logits[real]).all():
        return result | {EVENT_F1: float("nan")}
    active = (_probabilities(logits, clips, options) >= least) & real[:, :, None]
    result[EVENT_F1] = metrics.event_f1(
        [metrics.active_events(a, clips.seconds_per_step) for a in active],
        [list(metrics.merge_overlaps(events)) for events in clips.events],
        classes,
        collar=options.collar,
        offset_share=options.offset_share,
    )
    return result


def _probabilities(
    logits: Float[np.ndarray, "n T C"], clips: ProbeData, options: Frames
) -> Float[np.ndarray, "n T C"]:
    """The probabilities of all time steps, after the median filter."""
    import scipy.special  # Takes a while, and only scores of time steps need it.

    return metrics.median_filter(
        scipy.special.expit(logits),
        clips.weights > 0,
        options.median_seconds,
        clips.seconds_per_step,
    )
