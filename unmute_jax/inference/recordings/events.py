"""From scores of windows to events: windows of a class that belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.partial_results import Heard


@dataclass(frozen=True, kw_only=True)
class Event:
    """A class was heard from `start` to `end`, in seconds.

    Attributes:
        score: The highest of its windows.
        low_hz: Lower end of where the evidence is; `high_hz`, the upper one. All that
            the encoder listens to, where the probe cannot tell.
    """

    start: float
    end: float
    name: str
    score: float
    low_hz: float
    high_hz: float


def find_events(
    windows: Sequence[Heard],
    classes: Sequence[str],
    thresholds: Float[np.ndarray, "C"],
    geometry: Geometry,
) -> list[Event]:
    """The events of a recording, by start and then by class.

    A class is heard in a window where its score reaches its threshold; such windows
    that overlap or touch are one event.
    """
    edges = geometry.frequency_edges_hz
    found: list[Event] = []
    for c, name in enumerate(classes):
        run: list[Heard] = []
        for window in windows:
            is_heard = window.scores[c] >= thresholds[c]
            if run and (not is_heard or window.start > run[-1].end):
                found.append(_event(run, c, name, edges))
                run = []
            if is_heard:
                run.append(window)
        if run:
            found.append(_event(run, c, name, edges))
    return sorted(found, key=lambda e: e.start)


def _event(
    run: Sequence[Heard], c: int, name: str, edges: Sequence[tuple[float, float]]
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
