"""Finds the clips of a run's data set that sound most like a recording.

Sounds are compared by the cosine between the means over their tokens. Token stores keep
these means, so that only the recording has to be encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.datasets.tables import csv_text
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.windows import (
    RecordingFile,
    Window,
    Windowing,
    read_windows,
)
from unmute_jax.store.reader import TokenStore

# The number of clips whose means are in memory at a time.
ROWS = 4096
COLUMNS = ("clip", "split", "classes", "similarity", "start_s", "end_s")


@dataclass(frozen=True, kw_only=True)
class SimilarClip:
    """A clip of the data set that is similar to a recording.

    Attributes:
        clip: The id of the clip, which is its path where the data set has files.
        split: The split of the clip.
        classes: The classes in the clip.
        similarity: The cosine between its mean and that of the most similar window.
        start: The start of this window in the recording, in seconds.
        end: Its end in seconds.
    """

    clip: str
    split: str
    classes: tuple[str, ...]
    similarity: float
    start: float
    end: float


def similar_clips(
    recording: RecordingFile,
    predictor: Predictor,
    windowing: Windowing,
    stores: Sequence[TokenStore],
    most: int,
) -> list[SimilarClip]:
    """Finds the clips that are most similar to any window of a recording.

    Args:
        recording: The recording.
        predictor: The probe and its encoder.
        windowing: The cutting of the recording into windows.
        stores: The tokens of the clips.
        most: The number of clips to return.

    Returns:
        The clips in descending order of similarity.

    Raises:
        InputError: The recording cannot be decoded, or is too short.
    """
    windows, means = _means(recording, predictor, windowing)
    query = _unit(means)
    found = list[tuple[float, TokenStore, int, Window]]()
    for store in stores:
        for start in range(0, store.n, ROWS):
            rows = slice(start, min(start + ROWS, store.n))
            cosines = _unit(store.pooled(rows)["mean"]) @ query.T
            best = cosines.max(1)
            for i in np.argsort(-best, kind="stable")[:most].tolist():
                window = windows[int(cosines[i].argmax())]
                found.append((float(best[i]), store, start + i, window))
    found = sorted(found, key=lambda one: -one[0])[:most]
    return [
        SimilarClip(
            clip=store.ids[row],
            split=store.key["split"],
            classes=tuple(store.classes[c] for c in np.flatnonzero(store.labels[row])),
            similarity=similarity,
            start=window.start,
            end=window.end,
        )
        for similarity, store, row, window in found
    ]


def as_csv(clips: Sequence[SimilarClip]) -> str:
    """Renders similar clips as a table in CSV."""
    rows = (
        (
            one.clip,
            one.split,
            ";".join(one.classes),
            f"{one.similarity:.4f}",
            f"{one.start:g}",
            f"{one.end:g}",
        )
        for one in clips
    )
    return csv_text([COLUMNS, *rows])


def _means(
    recording: RecordingFile, predictor: Predictor, windowing: Windowing
) -> tuple[list[Window], Float[np.ndarray, "W D"]]:
    """The windows of a recording, without their waveforms, and their means."""
    windows, means, waiting = list[Window](), list[np.ndarray](), list[Window]()

    def encode() -> None:
        means.append(predictor.means(waiting))
        silent = np.empty(0, np.float32)
        windows.extend(
            Window(index=w.index, start=w.start, end=w.end, waveform=silent)
            for w in waiting
        )
        waiting.clear()

    for part in read_windows(recording, windowing):
        if isinstance(part, Window):
            waiting.append(part)
        if len(waiting) == predictor.batch_size:
            encode()
    if waiting:
        encode()
    return windows, np.concatenate(means)


def _unit(vectors: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Vectors with norm 1; zeros stay zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
