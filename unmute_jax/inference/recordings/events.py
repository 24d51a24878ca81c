"""Joins windows of the same class to events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.partial_results import WindowScores


def find_events(
    windows: Sequence[WindowScores],
    classes: Sequence[str],
    thresholds: Float[np.ndarray, "C"],
    geometry: Geometry,
) -> list[SoundEvent]:
    """Finds the events of a recording, ordered by start and then by class.

    A class is detected in a window if its score reaches its threshold. Detections in
    windows that overlap or touch form one event. Its score is the highest of its
    windows, and its frequency band the smallest that holds theirs: the whole range of
    the encoder if the probe cannot locate the evidence.
    """
    edges = geometry.frequency_edges_hz
    events: list[SoundEvent] = []
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
    return sorted(events, key=lambda e: e.onset)


def _join(
    run: Sequence[WindowScores],
    c: int,
    name: str,
    edges: Sequence[tuple[float, float]],
) -> SoundEvent:
    lows = [0 if w.bands is None else int(w.bands[c, 0]) for w in run]
    highs = [len(edges) - 1 if w.bands is None else int(w.bands[c, 1]) for w in run]
    return SoundEvent(
        onset=run[0].start,
        offset=run[-1].end,
        label=name,
        score=float(max(w.scores[c] for w in run)),
        low_hz=edges[min(lows)][0],
        high_hz=edges[max(highs)][1],
    )
