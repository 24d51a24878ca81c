"""The pass over recordings: windows of many files share batches."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.listener import Answer
from unmute_jax.inference.recordings.partial_results import Heard, Journal
from unmute_jax.inference.recordings.windows import (
    Cut,
    End,
    Recording,
    Window,
    ahead,
    expected_windows,
    read_windows,
)

Piece = Window | End | InputError


@runtime_checkable
class Hearer(Protocol):
    """What scores windows: a `Listener` or a `Tagger`."""

    batch_size: int

    def hear(self, windows: Sequence[Window]) -> Answer:
        """Scores of up to `batch_size` windows."""
        ...


def open_journal(recording: Recording, folder: pathlib.Path | None) -> Journal:
    """The journal of a recording in `folder`, or, where that is None, in memory."""
    path = None if folder is None else folder / f"{recording.name}.jsonl"
    return Journal(recording, path)


def expected(
    recordings: Sequence[Recording], cut: Cut, folder: pathlib.Path | None
) -> tuple[int, int]:
    """How many windows there are in all, by the headers, and how many are done."""
    total = done = 0
    for recording in recordings:
        journal = open_journal(recording, folder)
        n = len(journal.windows)
        done += n
        ended = journal.end is not None
        total += n if ended else max(n, expected_windows(recording, cut))
    return total, done


def hear_all(
    recordings: Sequence[Recording],
    listener: Hearer,
    cut: Cut,
    folder: pathlib.Path | None = None,
    advance: Callable[[int], None] = lambda windows: None,
) -> Iterator[Journal]:
    """Listens to recordings, in bounded memory however long they are.

    Args:
        recordings: What to listen to.
        listener: Who scores the windows.
        cut: That of the listener.
        folder: Of the journals; what is in them is not heard again.
        advance: Told how many windows were done.

    Yields:
        The journal of every recording, in order, with its end or with its error.
    """
    batch: list[tuple[Journal, Piece]] = []
    windows = 0
    # A thread reads and resamples about two batches ahead.
    pieces = ahead(_pieces(recordings, cut, folder), 2 * listener.batch_size)
    for journal, piece in pieces:
        batch.append((journal, piece))
        windows += isinstance(piece, Window)
        if windows == listener.batch_size:
            yield from _settle(batch, listener)
            advance(windows)
            batch, windows = [], 0
    yield from _settle(batch, listener)
    advance(windows)


def _pieces(
    recordings: Sequence[Recording], cut: Cut, folder: pathlib.Path | None
) -> Iterator[tuple[Journal, Piece]]:
    """All that is left to hear, each recording closed by its end or its error."""
    for recording in recordings:
        journal = open_journal(recording, folder)
        if journal.end is not None:
            yield journal, journal.end
            continue
        try:
            pieces = read_windows(recording, cut, first=len(journal.windows))
            yield from ((journal, piece) for piece in pieces)
        except InputError as error:
            yield journal, error


def _settle(
    batch: Sequence[tuple[Journal, Piece]], listener: Hearer
) -> Iterator[Journal]:
    """Hears the windows of a batch; gives the journals that are complete with it."""
    heard = iter(_hear([p for _, p in batch if isinstance(p, Window)], listener))
    for journal, piece in batch:
        if isinstance(piece, Window):
            found = next(heard)
            if found is not None and journal.error is None:
                journal.add(found)
            elif journal.error is None:
                path, start = journal.recording.path, piece.start
                journal.error = InputError(
                    f"{path}: gives tokens that are not finite from {start:g} s on"
                )
            continue
        if isinstance(piece, InputError):
            journal.error = journal.error or piece
        elif journal.error is None and journal.end is None:
            journal.finish(piece)
        yield journal


def _hear(windows: Sequence[Window], listener: Hearer) -> list[Heard | None]:
    """What was heard in each window; None where its tokens are no numbers."""
    if not windows:
        return []
    answer = listener.hear(windows)
    return [
        Heard(
            start=window.start,
            end=window.end,
            scores=answer.scores[i],
            bands=None if answer.bands is None else answer.bands[i],
        )
        if answer.finite[i]
        else None
        for i, window in enumerate(windows)
    ]
