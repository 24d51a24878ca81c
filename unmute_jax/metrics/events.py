"""Scores of events that were found, against those that are there: event-based F1."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

from unmute_jax.errors import InputError
from unmute_jax.metrics.frames import Event

MISSING_SED_EVAL = "event-based F1 needs sed_eval: pip install 'unmute-jax[sed]'"


def event_f1(
    found: Sequence[Sequence[Event]],
    truth: Sequence[Sequence[Event]],
    classes: Sequence[str],
    *,
    collar: float = 0.2,
    offset_share: float = 0.2,
) -> float:
    """Event-based F1 (Mesaros et al. 2016), mean over classes, by `sed_eval`.

    An event is right where class and onset are, and its offset too; no event counts
    twice. Classes that are nowhere in the truth do not count.

    Args:
        found: Per clip, what was found.
        truth: Per clip, what is there.
        classes: Names.
        collar: Seconds that an onset may be off.
        offset_share: An offset may be off by the collar, or by this share of the length
            of the event, whichever is more; below zero it is not looked at.

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
        # Otherwise a class that is never found would leave the mean.
        empty_system_output_handling="zero_score",
    )
    for clip, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
        metrics.evaluate(
            reference_event_list=_listed(theirs, classes, clip),
            estimated_event_list=_listed(ours, classes, clip),
        )
    return float(metrics.results_class_wise_average_metrics()["f_measure"]["f_measure"])


def has_sed_eval() -> bool:
    """Whether `event_f1` can be asked."""
    try:
        _sound_event()
    except InputError:
        return False
    return True


def _sound_event() -> Any:
    with warnings.catch_warnings():
        # What it stands on uses an outdated part of setuptools, and says so.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module("sed_eval.sound_event")
        except ImportError as error:
            raise InputError(f"{MISSING_SED_EVAL} ({error})") from None


def _listed(
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
