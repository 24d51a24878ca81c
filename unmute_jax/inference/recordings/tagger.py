"""An encoder with a class head of its own: windows in, scores out."""

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
from unmute_jax.inference.recordings.listener import Answer, scores_of
from unmute_jax.inference.recordings.partial_results import Journal
from unmute_jax.inference.recordings.windows import Cut, Window, cut_of, padded
from unmute_jax.store.embed import default_batch_size
from unmute_jax.store.key import as_json
from unmute_jax.tokens import Tokens

COLUMNS = ("file", "start_s", "end_s", "class", "score")


class Tagger:
    """Scores windows with the class head that came with the weights of an encoder.

    Attributes:
        encoder: With a head.
        classes: What its outputs are called; `class 0`, ... where nobody has said.
        batch_size: Windows heard at a time.
    """

    def __init__(
        self,
        encoder: Encoder,
        window_seconds: float,
        batch_size: int | None = None,
    ):
        """Looks for the head; nothing is computed yet.

        Raises:
            InputError: There is none, or a window has no frame.
        """
        self.encoder, self._seconds = encoder, window_seconds
        self._mesh = distributed.make_mesh()
        size = batch_size or default_batch_size()
        self.batch_size = -(-size // self._mesh.size) * self._mesh.size
        self._clip_input = encoder.clip_input(window_seconds)
        outputs = _outputs(encoder, window_seconds)
        self.classes = encoder.classes or tuple(f"class {c}" for c in range(outputs))
        self._params = distributed.replicate(encoder.params, self._mesh)
        self._encode = encoder.on(self._mesh)
        self._classify = jax.jit(self._classified)

    def cut(self, overlap: float) -> Cut:
        """Windows of the length that was asked for.

        Args:
            overlap: Share of a window that the next one covers again.
        """
        return cut_of(self.encoder, self._seconds, overlap)

    def identity(self, cut: Cut) -> dict[str, Any]:
        """Everything that changes the scores of a recording, as plain JSON."""
        return {
            "encoder": as_json(self.encoder.identity()),
            "classes": list(self.classes),
            "window_seconds": cut.seconds(cut.samples),
            "hop_seconds": cut.seconds(cut.hop),
        }

    def hear(self, windows: Sequence[Window]) -> Answer:
        """Scores of up to `batch_size` windows: sigmoid, each class for itself."""
        tokens = self._encode(*padded(windows, self.batch_size, self._clip_input))
        logits = np.asarray(self._classify(self._params, tokens))[: len(windows)]
        return Answer(
            scores=scores_of(logits, "multi-label"),
            bands=None,
            finite=np.asarray(np.isfinite(logits).all(1)),
        )

    def _classified(self, params: Any, tokens: Tokens) -> Array:
        return dataclasses.replace(self.encoder, params=params).logits(tokens)


def best(journal: Journal, classes: Sequence[str], top: int) -> list[Tag]:
    """The classes with the highest scores in any window of a finished journal."""
    scores = np.stack([window.scores for window in journal.windows])
    highest = scores.max(0)
    return [
        _tag(journal, int(scores[:, c].argmax()), int(c), classes)
        for c in np.argsort(-highest, kind="stable")[:top]
    ]


def tags(journal: Journal, classes: Sequence[str], top: int) -> Iterator[Tag]:
    """The classes with the highest scores of every window, window by window."""
    for i, window in enumerate(journal.windows):
        for c in np.argsort(-window.scores, kind="stable")[:top]:
            yield _tag(journal, i, int(c), classes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tag:
    """A class that was heard in a window.

    Attributes:
        file: Name of the recording.
        start: Of the window, in seconds; `end` likewise.
        name: Of the class.
        score: In [0, 1].
    """

    file: str
    start: float
    end: float
    name: str
    score: float

    @property
    def row(self) -> tuple[str, ...]:
        """As of `COLUMNS`."""
        times = (f"{self.start:.3f}", f"{self.end:.3f}")
        return self.file, *times, self.name, f"{self.score:.4f}"


def _tag(journal: Journal, i: int, c: int, classes: Sequence[str]) -> Tag:
    window = journal.windows[i]
    return Tag(
        file=journal.recording.name,
        start=window.start,
        end=window.end,
        name=classes[c],
        score=float(window.scores[c]),
    )


def _outputs(encoder: Encoder, seconds: float) -> int:
    """How many outputs the head has; refuses an encoder without one."""
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
