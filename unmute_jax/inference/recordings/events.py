"""Joins windows of the same class to events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.partial_results import WindowScores

# Seconds by which computed times may be wrong.
ROUNDING = 1e-6


def find_events(
    windows: Sequence[WindowScores],
    classes: Sequence[str],
    thresholds: Float[np.ndarray, "C"],
    geometry: Geometry,
    *,
    merge: bool = True,
    longest: float = math.inf,
) -> list[SoundEvent]:
    """Finds the events of a recording, ordered by onset and then by class.

    A class is detected in a window if its score reaches its threshold. Detections in
    successive windows that overlap or touch form one event. Its score is the highest of
    its windows, and its frequency band the smallest that holds theirs: the whole range
    of the encoder if the probe cannot locate the evidence.

    Args:
        windows: The scores of the windows, in order.
        classes: The names of the classes.
        thresholds: The threshold of each class.
        geometry: The geometry of the encoder.
        merge: Whether windows are joined; otherwise each is an event of its own.
        longest: The length in seconds of the longest event. A longer one is divided at
            the end of a window. It is at least as long as a window.
    """
    edges = geometry.frequency_edges_hz
    events: list[SoundEvent] = []
    for c, name in enumerate(classes):
        is_detected = [bool(w.scores[c] >= thresholds[c]) for w in windows]
        for onset, run in _runs(windows, is_detected, merge, longest):
            events.append(_join(onset, run, c, name, edges))
    return sorted(events, key=lambda event: event.onset)


def _runs(
    windows: Sequence[WindowScores],
    is_detected: Sequence[bool],
    merge: bool,
    longest: float,
) -> Iterator[tuple[float, list[WindowScores]]]:
    """Yields the onset and the windows of each event.

    The onset of an event that continues another one is the end of that one, so that
    events of a class do not overlap.
    """
    run: list[WindowScores] = []
    onset = 0.0
    for window, detected in zip(windows, is_detected, strict=True):
        touches = detected and merge and run and window.start <= run[-1].end
        if touches and window.end - onset <= longest + ROUNDING:
            run.append(window)
            continue
        if run:
            yield onset, run
        onset = run[-1].end if touches else window.start
        run = [window] if detected else []
    if run:
        yield onset, run


def _join(
    onset: float,
    run: Sequence[WindowScores],
    c: int,
    name: str,
    edges: Sequence[tuple[float, float]],
) -> SoundEvent:
    lows = [0 if w.bands is None else int(w.bands[c, 0]) for w in run]
    highs = [len(edges) - 1 if w.bands is None else int(w.bands[c, 1]) for w in run]
    return SoundEvent(
        onset=onset,
        offset=run[-1].end,
        label=name,
        score=float(max(w.scores[c] for w in run)),
        low_hz=edges[min(lows)][0],
        high_hz=edges[max(highs)][1],
    )
