"""Names the sounds in recordings with a trained probe, from files to events."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from unmute_jax.config import Experiment
from unmute_jax.console import progress
from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError, unknown_name
from unmute_jax.inference.recordings.detections import Detections, summarise
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.stream import count_windows, score_recordings
from unmute_jax.inference.recordings.thresholds import (
    check_threshold,
    validation_thresholds,
)
from unmute_jax.inference.recordings.windows import (
    RecordingFile,
    Windowing,
    find_recordings,
)
from unmute_jax.results.trained import TrainedProbe, load_trained
from unmute_jax.training.setup import open_source

# The threshold of classes that have none of their own.
DEFAULT_THRESHOLD = 0.5


def predict(
    recordings: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    trained: TrainedProbe | str | os.PathLike[str],
    *,
    encoder: Encoder | None = None,
    overlap: float = 0.5,
    thresholds: float | Mapping[str, float] | Literal["validation"] = DEFAULT_THRESHOLD,
    merge: bool = True,
    longest: float = math.inf,
    batch_size: int | None = None,
    on_bad: Literal["fail", "skip"] = "fail",
) -> list[Detections]:
    """Names the sounds in recordings of any length with a trained probe.

        for found in uj.predict("recordings", uj.load_trained("runs/birds")):
            for event in found.events:
                print(found.recording.name, event.onset, event.label, event.score)

    Recordings are read in overlapping windows of the length that the probe was trained
    on, and successive windows with a detection become one event. A probe that was
    trained on time steps detects events in time steps instead.

    Args:
        recordings: Audio files, and folders in which they are searched.
        trained: The trained probe, or the folder of its run or the file of the probe.
        encoder: The encoder whose tokens the probe was trained on. By default it is
            opened as the run opened it.
        overlap: The share of a window that overlaps with the next one, from 0 to
            below 1.
        thresholds: The score (0 to 1) from which on a class counts as detected: one for
            all classes; one per class by name, where others have 0.5; or "validation"
            for those with the best F1 on the validation clips of the run.
        merge: Whether successive windows with a detection are joined to one event.
        longest: The length of the longest event in seconds; longer ones are divided.
        batch_size: The number of windows per step of the encoder. By default few on a
            CPU and many on an accelerator.
        on_bad: What to do with a recording that cannot be read: "fail" raises, "skip"
            leaves it out.

    Returns:
        What was detected in each recording, in order: events with onset and offset in
        seconds, class, score and frequencies in Hz, and the scores of all windows.

    Raises:
        InputError: There are no recordings; one cannot be read; weights are missing, or
            are not those of the training; or an argument is out of range.
    """
    if on_bad not in ("fail", "skip"):
        raise unknown_name("on_bad", on_bad, ("fail", "skip"))
    if isinstance(recordings, str | os.PathLike):
        recordings = [recordings]
    if not isinstance(trained, TrainedProbe):
        trained = load_trained(trained)
    files = find_recordings(recordings)
    predictor = Predictor(trained, encoder or encoder_of(trained), batch_size)
    windowing = predictor.windowing(overlap)
    check_longest(longest, trained, windowing, "longest")
    chosen = _thresholds(predictor, thresholds)
    found = list[Detections]()
    for result in detect(files, predictor, windowing, chosen, merge, longest):
        if isinstance(result, Detections):
            found.append(result)
        elif on_bad == "fail":
            raise result
    return found


def detect(
    recordings: Sequence[RecordingFile],
    predictor: Predictor,
    windowing: Windowing,
    thresholds: Float[np.ndarray, "C"],
    merge: bool,
    longest: float,
    folder: Path | None = None,
) -> Iterator[Detections | InputError]:
    """Scores recordings with a progress bar.

    Args:
        recordings: The recordings.
        predictor: What scores their windows.
        windowing: The cutting of recordings into windows.
        thresholds: The threshold of each class.
        merge: Whether successive windows are joined.
        longest: The length in seconds of the longest event.
        folder: The folder of the scores of the windows. Those that it contains are not
            computed again.

    Yields:
        For each recording, in order, what was detected, or why it cannot be read.
    """
    total, done = count_windows(recordings, windowing, folder)
    with progress("listening", total, unit="windows", done=done) as advance:
        for results in score_recordings(
            recordings, predictor, windowing, folder, advance
        ):
            if results.error is not None:
                yield results.error
            else:
                yield summarise(
                    results, predictor, thresholds, merge=merge, longest=longest
                )


def encoder_of(trained: TrainedProbe, weights: str | None = None) -> Encoder:
    """Opens the encoder that a probe was trained with.

    Args:
        trained: The trained probe.
        weights: The place of the weights, if it is not the one in the settings.

    Raises:
        InputError: The weights are missing or wrong, or the probe was trained on
            exported tokens, without an encoder.
    """
    source = open_source(Experiment.from_dict(trained.settings), weights)
    if not isinstance(source, Encoder):
        raise InputError(
            f"the run was trained on {source.name}, the tokens of known clips: there "
            "is no encoder for other recordings"
        )
    return source


def check_longest(
    longest: float, trained: TrainedProbe, windowing: Windowing, where: str
) -> None:
    """Checks the length of the longest event.

    Args:
        longest: The length in seconds.
        trained: The trained probe.
        windowing: The cutting of recordings into windows.
        where: The name of the argument, for the message.

    Raises:
        InputError: It is shorter than a window or, if the probe was trained on time
            steps, than a time step.
    """
    unit, least = "window", windowing.seconds(windowing.samples)
    if trained.is_framewise:
        unit, least = "time step", trained.geometry.seconds_per_step
    if not longest >= least:
        raise InputError(
            f"{where}={longest:g}: an event is at least as long as a {unit}, {least:g} "
            "s"
        )


def _thresholds(
    predictor: Predictor, thresholds: float | Mapping[str, float] | str
) -> Float[np.ndarray, "C"]:
    """The threshold of each class."""
    trained = predictor.trained
    if thresholds == "validation":
        return validation_thresholds(
            trained, predictor.encoder, DEFAULT_THRESHOLD
        ).thresholds
    if isinstance(thresholds, Mapping):
        for name in thresholds:
            if name not in trained.classes:
                raise unknown_name("class", name, trained.classes, "thresholds")
        of_classes = [thresholds.get(c, DEFAULT_THRESHOLD) for c in trained.classes]
    else:
        of_classes = [thresholds] * len(trained.classes)
    return np.array([check_threshold(t, "thresholds") for t in of_classes], np.float32)
