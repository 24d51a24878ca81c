"""Event-based F1: compares detected sound events with the annotated ones."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

from unmute_jax.errors import InputError
from unmute_jax.metrics.frames import Event

MISSING_SED_EVAL = "event-based F1 needs sed_eval: pip install 'unmute-jax[sed]'"


def event_f1(
    detected: Sequence[Sequence[Event]],
    annotated: Sequence[Sequence[Event]],
    classes: Sequence[str],
    *,
    collar: float = 0.2,
    offset_share: float = 0.2,
) -> float:
    """Event-based F1 (Mesaros et al. 2016), mean over classes, computed by `sed_eval`.

    A detected event is correct if it has the class, the onset and the offset of an
    annotated event; every annotated event is matched at most once. Classes without an
    annotated event are left out of the mean.

    Args:
        detected: The detected events of each clip.
        annotated: The annotated events of each clip.
        classes: The names of the classes.
        collar: Tolerance of onsets, in seconds.
        offset_share: Tolerance of offsets, as a share of the event's length; the collar
            applies where it is larger. If negative, offsets are not compared.

    Raises:
        InputError: sed_eval is not installed.
    """
    metrics = _sound_event().EventBasedMetrics(
        event_label_list=list(classes),
        t_collar=collar,
        percentage_of_length=max(offset_share, 0.0),
        evaluate_onset=True,
        evaluate_offset=offset_share >= 0,
        event_matching_type="optimal",
        # By default a class that is never detected would be left out of the mean.
        empty_system_output_handling="zero_score",
    )
    for clip, (ours, theirs) in enumerate(zip(detected, annotated, strict=True)):
        metrics.evaluate(
            reference_event_list=_event_list(theirs, classes, clip),
            estimated_event_list=_event_list(ours, classes, clip),
        )
    return float(metrics.results_class_wise_average_metrics()["f_measure"]["f_measure"])


def has_sed_eval() -> bool:
    """Whether sed_eval, which `event_f1` needs, can be imported."""
    try:
        _sound_event()
    except InputError:
        return False
    return True


def _sound_event() -> Any:
    with warnings.catch_warnings():
        # A dependency of sed_eval warns that it uses an outdated part of setuptools.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("sed_eval.sound_event")
        except ImportError as error:
            raise InputError(f"{MISSING_SED_EVAL} ({error})") from None


def _event_list(
    events: Sequence[Event], classes: Sequence[str], clip: int
) -> list[dict[str, Any]]:
    return [
        {
            "filename": str(clip),
            "event_label": classes[c],
            "event_onset": onset,
            "event_offset": offset,
        }
        for c, onset, offset in events
    ]
