"""Metrics of clips (`ranking`), of time steps (`frames`) and of events (`events`)."""

from unmute_jax.metrics.events import MISSING_SED_EVAL, event_f1, has_sed_eval
from unmute_jax.metrics.frames import (
    Event,
    active_events,
    frame_labels,
    median_filter,
    merge_overlaps,
    rasterise,
)
from unmute_jax.metrics.ranking import (
    MeanAP,
    best_thresholds,
    mean_average_precision,
    top1_accuracy,
)

__all__ = [
    "MISSING_SED_EVAL",
    "Event",
    "MeanAP",
    "active_events",
    "best_thresholds",
    "event_f1",
    "frame_labels",
    "has_sed_eval",
    "mean_average_precision",
    "median_filter",
    "merge_overlaps",
    "rasterise",
    "top1_accuracy",
]
