"""Scores the windows of many recordings in shared batches."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.partial_results import (
    PartialResults,
    WindowScores,
    open_partial_results,
)
from unmute_jax.inference.recordings.predictor import BatchScores
from unmute_jax.inference.recordings.windows import (
    RecordingEnd,
    RecordingFile,
    Window,
    Windowing,
    expected_windows,
    prefetch,
    read_windows,
)

# What reading a recording gives: its windows, and then its end or an error.
Piece = Window | RecordingEnd | InputError


@runtime_checkable
class WindowScorer(Protocol):
    """Scores windows of recordings, as `Predictor` and `Tagger` do."""

    batch_size: int

    def score(self, windows: Sequence[Window]) -> BatchScores:
        """Scores up to `batch_size` windows."""
        ...


def count_windows(
    recordings: Sequence[RecordingFile],
    windowing: Windowing,
    folder: pathlib.Path | None,
) -> tuple[int, int]:
    """Counts the windows of all recordings.

    Returns:
        The number of windows according to the headers of the files, and how many of
        them are already scored.
    """
    total = done = 0
    for recording in recordings:
        results = open_partial_results(recording, folder)
        n = len(results.windows)
        done += n
        is_complete = results.end is not None
        total += n if is_complete else max(n, expected_windows(recording, windowing))
    return total, done


def score_recordings(
    recordings: Sequence[RecordingFile],
    scorer: WindowScorer,
    windowing: Windowing,
    folder: pathlib.Path | None = None,
    advance: Callable[[int], None] = lambda windows: None,
) -> Iterator[PartialResults]:
    """Scores recordings in bounded memory, however long they are.

    Args:
        recordings: The recordings.
        scorer: The predictor or tagger that scores the windows.
        windowing: The cutting of recordings into windows.
        folder: The folder of the partial results. Windows that it contains are not
            scored again.
        advance: A function that is called with the number of windows just scored.

    Yields:
        The results of every recording, in order, with its end or an error.
    """
    batch: list[tuple[PartialResults, Piece]] = []
    windows = 0
    # A thread reads and resamples about two batches ahead.
    pieces = _read_pieces(recordings, windowing, folder)
    for results, piece in prefetch(pieces, 2 * scorer.batch_size):
        batch.append((results, piece))
        windows += isinstance(piece, Window)
        if windows == scorer.batch_size:
            yield from _score_batch(batch, scorer)
            advance(windows)
            batch, windows = [], 0
    yield from _score_batch(batch, scorer)
    advance(windows)


def _read_pieces(
    recordings: Sequence[RecordingFile],
    windowing: Windowing,
    folder: pathlib.Path | None,
) -> Iterator[tuple[PartialResults, Piece]]:
    """Reads the windows that are left; each recording ends with its end or an error."""
    for recording in recordings:
        results = open_partial_results(recording, folder)
        if results.end is not None:
            yield results, results.end
            continue
        try:
            pieces = read_windows(recording, windowing, first=len(results.windows))
            yield from ((results, piece) for piece in pieces)
        except InputError as error:
            yield results, error


def _score_batch(
    batch: Sequence[tuple[PartialResults, Piece]], scorer: WindowScorer
) -> Iterator[PartialResults]:
    """Scores the windows of a batch, and yields the results that are complete."""
    windows = [piece for _, piece in batch if isinstance(piece, Window)]
    scores = iter(_score_windows(windows, scorer))
    for results, piece in batch:
        if isinstance(piece, Window):
            window = next(scores)
            if results.error is not None:
                continue
            if window is not None:
                results.add(window)
            else:
                results.error = InputError(
                    f"{results.recording.path}: its tokens are not finite from "
                    f"{piece.start:g} s on"
                )
            continue
        if isinstance(piece, InputError):
            results.error = results.error or piece
        elif results.error is None and results.end is None:
            results.finish(piece)
        yield results


def _score_windows(
    windows: Sequence[Window], scorer: WindowScorer
) -> list[WindowScores | None]:
    """The scores of each window; None if its tokens are not finite."""
    if not windows:
        return []
    batch = scorer.score(windows)
    return [
        WindowScores(
            start=window.start,
            end=window.end,
            scores=batch.scores[i],
            bands=None if batch.bands is None else batch.bands[i],
            steps=None if batch.steps is None else batch.steps[i],
        )
        if batch.finite[i]
        else None
        for i, window in enumerate(windows)
    ]
