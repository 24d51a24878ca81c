"""Scores windows with the class head that an encoder was fine-tuned with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from unmute_jax import distributed
from unmute_jax.encoders import Encoder
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.partial_results import PartialResults
from unmute_jax.inference.recordings.predictor import BatchScores, scores_of
from unmute_jax.inference.recordings.windows import (
    Window,
    Windowing,
    make_windowing,
    pad_windows,
)
from unmute_jax.store.batches import default_batch_size
from unmute_jax.store.key import as_json
from unmute_jax.tokens import Tokens

COLUMNS = ("file", "start_s", "end_s", "class", "score")


class Tagger:
    """Scores windows of recordings with the class head of an encoder.

    Attributes:
        encoder: The encoder with its class head.
        classes: The names of the classes; `class 0` and so on if they are unknown.
        batch_size: The number of windows per batch.
    """

    def __init__(
        self,
        encoder: Encoder,
        window_seconds: float,
        batch_size: int | None = None,
    ):
        """Checks that the encoder has a class head.

        Raises:
            InputError: The encoder has no class head, or a window is shorter than a
                frame.
        """
        self.encoder, self._seconds = encoder, window_seconds
        self._mesh = distributed.make_mesh()
        size = batch_size or default_batch_size()
        self.batch_size = -(-size // self._mesh.size) * self._mesh.size
        self._clip_input = encoder.clip_input(window_seconds)
        outputs = _count_outputs(encoder, window_seconds)
        self.classes = encoder.classes or tuple(f"class {c}" for c in range(outputs))
        self._params = distributed.replicate(encoder.params, self._mesh)
        self._encode = encoder.on(self._mesh)
        self._classify = jax.jit(self._logits)

    def windowing(self, overlap: float) -> Windowing:
        """Windows of the length that the tagger was made for.

        Args:
            overlap: The share of a window that overlaps with the next one.
        """
        return make_windowing(self.encoder, self._seconds, overlap)

    def identity(self, windowing: Windowing) -> dict[str, Any]:
        """Everything that changes the scores of a recording, as plain JSON."""
        return {
            "encoder": as_json(self.encoder.identity()),
            "classes": list(self.classes),
            "window_seconds": windowing.seconds(windowing.samples),
            "hop_seconds": windowing.seconds(windowing.hop),
        }

    def score(self, windows: Sequence[Window]) -> BatchScores:
        """Scores up to `batch_size` windows with a sigmoid for each class."""
        tokens = self._encode(*pad_windows(windows, self.batch_size, self._clip_input))
        logits = np.asarray(self._classify(self._params, tokens))[: len(windows)]
        return BatchScores(
            scores=scores_of(logits, "multi-label"),
            bands=None,
            finite=np.asarray(np.isfinite(logits).all(1)),
        )

    def _logits(self, params: Any, tokens: Tokens) -> Array:
        return dataclasses.replace(self.encoder, params=params).logits(tokens)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tag:
    """The score of a class in a window.

    Attributes:
        file: The name of the recording.
        start: The start of the window in seconds.
        end: The end of the window in seconds.
        name: The name of the class.
        score: The score in [0, 1].
    """

    file: str
    start: float
    end: float
    name: str
    score: float

    @property
    def row(self) -> tuple[str, ...]:
        """The row of a table with the columns `COLUMNS`."""
        times = (f"{self.start:.3f}", f"{self.end:.3f}")
        return self.file, *times, self.name, f"{self.score:.4f}"


def best_tags(results: PartialResults, classes: Sequence[str], top: int) -> list[Tag]:
    """The `top` classes with the highest scores in any window of a recording."""
    scores = np.stack([window.scores for window in results.windows])
    return [
        _make_tag(results, int(scores[:, c].argmax()), int(c), classes)
        for c in np.argsort(-scores.max(0), kind="stable")[:top]
    ]


def window_tags(
    results: PartialResults, classes: Sequence[str], top: int
) -> Iterator[Tag]:
    """The `top` classes with the highest scores of every window, window by window."""
    for i, window in enumerate(results.windows):
        for c in np.argsort(-window.scores, kind="stable")[:top]:
            yield _make_tag(results, i, int(c), classes)


def _make_tag(results: PartialResults, i: int, c: int, classes: Sequence[str]) -> Tag:
    window = results.windows[i]
    return Tag(
        file=results.recording.name,
        start=window.start,
        end=window.end,
        name=classes[c],
        score=float(window.scores[c]),
    )


def _count_outputs(encoder: Encoder, seconds: float) -> int:
    """Counts the outputs of the class head; fails for an encoder without one."""
    (t, f), d = encoder.grid(seconds), encoder.num_features
    shapes = Tokens(
        patches=np.zeros((1, t, f, d), np.float32),
        cls=np.zeros((1, d), np.float32),
        mask=np.ones((1, t), bool),
    )
    try:
        return jax.eval_shape(encoder.logits, shapes).shape[1]
    except InputError as error:
        raise InputError(
            f"{error}: tags need weights that were fine-tuned on classes, those of "
            'the encoders with a "+" (python -m unmute_jax.convert --list)'
        ) from None
