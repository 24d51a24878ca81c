"""Metrics of clips (ranking), of time steps (frames) and of events."""

from unmute_jax.metrics.ranking import (
    MeanAP,
    best_thresholds,
    mean_average_precision,
    top1_accuracy,
)

__all__ = ["MeanAP", "best_thresholds", "mean_average_precision", "top1_accuracy"]
