"""Joins windows of the same class to events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.partial_results import WindowScores


@dataclass(frozen=True, kw_only=True)
class Event:
    """A stretch of a recording in which a class was detected.

    Attributes:
        start: The start in seconds.
        end: The end in seconds.
        name: The name of the class.
        score: The highest score of its windows.
        low_hz: The lower end of the frequency band with the evidence. If the probe
            cannot locate it, the band is the whole range of the encoder.
        high_hz: The upper end of that band.
    """

    start: float
    end: float
    name: str
    score: float
    low_hz: float
    high_hz: float


def find_events(
    windows: Sequence[WindowScores],
    classes: Sequence[str],
    thresholds: Float[np.ndarray, "C"],
    geometry: Geometry,
) -> list[Event]:
    """Finds the events of a recording, ordered by start and then by class.

    A class is detected in a window if its score reaches its threshold. Detections in
    windows that overlap or touch form one event.
    """
    edges = geometry.frequency_edges_hz
    events: list[Event] = []
    for c, name in enumerate(classes):
        run: list[WindowScores] = []
        for window in windows:
            is_detected = window.scores[c] >= thresholds[c]
            if run and (not is_detected or window.start > run[-1].end):
                events.append(_join(run, c, name, edges))
                run = []
            if is_detected:
                run.append(window)
        if run:
            events.append(_join(run, c, name, edges))
    return sorted(events, key=lambda e: e.start)


def _join(
    run: Sequence[WindowScores],
    c: int,
    name: str,
    edges: Sequence[tuple[float, float]],
) -> Event:
    lows = [0 if w.bands is None else int(w.bands[c, 0]) for w in run]
    highs = [len(edges) - 1 if w.bands is None else int(w.bands[c, 1]) for w in run]
    return Event(
        start=run[0].start,
        end=run[-1].end,
        name=name,
        score=float(max(w.scores[c] for w in run)),
        low_hz=edges[min(lows)][0],
        high_hz=edges[max(highs)][1],
    )
