"""Makes one sequence of time steps of the windows of a recording."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from unmute_jax.inference.recordings.partial_results import WindowScores
from unmute_jax.metrics.frames import median_filter


def steps_of(
    windows: Sequence[WindowScores], seconds_per_step: float, median_seconds: float
) -> list[WindowScores]:
    """Returns the scores of the time steps of a recording, each once.

    Where windows overlap, each gives the steps that are farther from its end than from
    that of the other window, because a step at the end of a window lacks its context.
    The scores are filtered as in training (see `median_filter`).

    Args:
        windows: The windows of a recording in order, with the scores of their steps.
        seconds_per_step: The length of a time step.
        median_seconds: The width of the median filter.

    Returns:
        The time steps in order. They touch each other; where the grids of two windows
        do not agree, a step is up to a half longer or shorter than the others.
    """
    middles = [(a.end + b.start) / 2 for a, b in itertools.pairwise(windows)]
    firsts = [windows[0].start, *middles] if windows else []
    lasts = [*middles, windows[-1].end] if windows else []
    steps: list[WindowScores] = []
    for window, first, last in zip(windows, firsts, lasts, strict=True):
        assert window.steps is not None
        starts = window.start + seconds_per_step * np.arange(len(window.steps))
        centres = starts + seconds_per_step / 2
        for t in np.flatnonzero((centres >= first) & (centres < last)):
            start = steps[-1].end if steps else float(starts[t])
            if centres[t] < start:  # The other window has covered most of it.
                continue
            steps.append(
                WindowScores(
                    start=start,
                    end=min(float(starts[t]) + seconds_per_step, window.end),
                    scores=window.steps[t],
                    bands=window.bands,
                )
            )
    if not steps:
        return []
    scores = np.stack([step.scores for step in steps])[None]
    filtered = median_filter(
        scores, np.ones(scores.shape[:2], bool), median_seconds, seconds_per_step
    )
    return [
        WindowScores(start=s.start, end=s.end, scores=row, bands=s.bands)
        for s, row in zip(steps, filtered[0], strict=True)
    ]
