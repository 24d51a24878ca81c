"""Summarises the scores of recordings as detections, and writes them to files."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.config import Experiment
from unmute_jax.datasets.annotations import audacity, event_table, raven
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.inference.recordings.band import NOTABLE_SHARE
from unmute_jax.inference.recordings.events import find_events
from unmute_jax.inference.recordings.evidence_plot import evidence_png
from unmute_jax.inference.recordings.partial_results import (
    PartialResults,
    WindowScores,
)
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.time_steps import steps_of
from unmute_jax.inference.recordings.windows import (
    RecordingFile,
    Window,
    Windowing,
    read_windows,
)
from unmute_jax.io import fitting, write_atomically

# The largest number of pictures per recording, and of classes per picture.
MOST_PLOTS, MOST_CLASSES = 10, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections:
    """What was detected in one recording.

    Attributes:
        recording: The recording.
        seconds: Its length.
        share_above: The share of its energy above the band of the encoder; None if it
            is unknown.
        channels_cancel: Whether its channels cancel each other out in their average.
        best: Each class with its highest score and the window that has it, in
            descending order of the scores.
        events: The events in the order of their starts.
        plotted: Indices and scores of the windows that are worth a picture.
        decided: The stretches in which each class is detected or not: the windows, or
            the time steps if the probe was trained on time steps.
    """

    recording: RecordingFile
    seconds: float
    share_above: float | None
    channels_cancel: bool
    best: tuple[tuple[str, float, WindowScores], ...]
    events: tuple[SoundEvent, ...]
    plotted: tuple[tuple[int, WindowScores], ...]
    decided: Sequence[WindowScores]


def summarise(
    results: PartialResults,
    predictor: Predictor,
    thresholds: Float[np.ndarray, "C"],
    *,
    merge: bool = True,
    longest: float = math.inf,
) -> Detections:
    """Summarises the results of a recording that was scored to its end.

    Args:
        results: The scores of its windows.
        predictor: What scored them.
        thresholds: The threshold of each class.
        merge: Whether successive windows are joined; see `find_events`.
        longest: The length in seconds of the longest event.
    """
    assert results.end is not None
    trained, windows = predictor.trained, results.windows
    decided: Sequence[WindowScores] = windows
    if trained.is_framewise:
        median = Experiment.from_dict(trained.settings).frames.median_seconds
        decided = steps_of(windows, trained.geometry.seconds_per_step, median)
    scores = np.stack([w.scores for w in windows])
    best = [
        (name, float(scores[i, c]), windows[i])
        for c, (name, i) in enumerate(
            zip(trained.classes, scores.argmax(0), strict=True)
        )
    ]
    return Detections(
        recording=results.recording,
        seconds=results.end.seconds,
        share_above=results.end.share_above,
        channels_cancel=results.end.channels_cancel,
        best=tuple(sorted(best, key=lambda x: -x[1])),
        events=tuple(
            find_events(
                decided,
                trained.classes,
                thresholds,
                trained.geometry,
                merge=merge,
                longest=longest,
            )
        ),
        plotted=tuple((i, windows[i]) for i in _windows_to_plot(scores, thresholds)),
        decided=decided,
    )


def notes_on_sound(detections: Detections, highest_hz: float) -> list[str]:
    """Returns notes on the sound of a recording that the encoder does not hear.

    Args:
        detections: What was detected in the recording.
        highest_hz: The upper end of the encoder's band.
    """
    path, share = detections.recording.path, detections.share_above
    notes: list[str] = []
    if share is not None and share >= NOTABLE_SHARE:
        notes.append(
            f"{path}: {100 * share:.0f} % of its energy lies above {highest_hz:,.0f} "
            "Hz, which this encoder ignores"
        )
    if detections.channels_cancel:
        notes.append(
            f"{path}: its channels cancel each other out in their average, which is "
            "what this encoder hears"
        )
    return notes


def write_tables(folder: pathlib.Path, detections: Sequence[Detections]) -> list[str]:
    """Writes the events of all recordings as CSV, and of each one as selections.

    Returns:
        A note on selections that an earlier call has left in the folder, if there are
        any. They stay there, as a person may have corrected them.
    """
    rows = [(d.recording.name, event) for d in detections for event in d.events]
    write_atomically(folder / "predictions.csv", event_table.write(rows))
    formats = {"audacity": audacity.write, "raven": raven.write}
    written: set[pathlib.Path] = set()
    for one in detections:
        for kind, write in formats.items():
            path = fitting(folder / kind / f"{one.recording.name}.txt")
            write_atomically(path, write(one.events))
            written.add(path)
    older = sum(
        path not in written
        for kind in formats
        for path in (folder / kind).rglob("*.txt")
    )
    if not older:
        return []
    return [
        f"{folder}: {older:,} files in {' and '.join(formats)} are of an earlier call; "
        "predictions.csv has only the recordings of this one"
    ]


def write_plots(
    folder: pathlib.Path,
    detections: Detections,
    predictor: Predictor,
    windowing: Windowing,
    thresholds: Float[np.ndarray, "C"],
) -> list[pathlib.Path]:
    """Draws the evidence in the best windows of a recording.

    Returns:
        The pictures.
    """
    name, trained = detections.recording.name, predictor.trained
    results = dict(detections.plotted)
    windows = _read_chosen(detections.recording, windowing, results)
    size, paths = predictor.batch_size, []
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        for window, maps in zip(batch, predictor.evidence(batch), strict=True):
            scores = results[window.index].scores
            picture = evidence_png(
                window,
                windowing.sample_rate,
                {
                    f"{trained.classes[c]} {scores[c]:.2f}": maps[c]
                    for c in _classes_to_plot(scores, thresholds)
                },
                trained.geometry,
                f"{name} · {trained.name} on {trained.encoder_description}",
            )
            picture_name = f"{name}-{window.start:06.1f}s.png"
            paths.append(fitting(folder / "plots" / picture_name))
            write_atomically(paths[-1], picture)
    return paths


def _read_chosen(
    recording: RecordingFile, windowing: Windowing, chosen: dict[int, WindowScores]
) -> list[Window]:
    windows: list[Window] = []
    for piece in read_windows(recording, windowing):
        if isinstance(piece, Window) and piece.index in chosen:
            windows.append(piece)
        if len(windows) == len(chosen):
            break
    return windows


def _windows_to_plot(scores: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """The windows with the highest detections; without any, the best window."""
    highest = np.where(scores >= thresholds[None], scores, 0.0).max(1)
    order = [int(i) for i in np.argsort(-highest, kind="stable") if highest[i] > 0]
    return sorted(order[:MOST_PLOTS]) or [int(scores.max(1).argmax())]


def _classes_to_plot(scores: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """The detected classes by descending score; without any, the best class."""
    order = [int(c) for c in np.argsort(-scores, kind="stable")]
    detected = [c for c in order if scores[c] >= thresholds[c]]
    return detected[:MOST_CLASSES] or order[:1]
