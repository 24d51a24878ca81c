"""Plans the windows of recordings from the headers of their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from unmute_jax.audio.decode import AudioFile
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.windows import (
    Cut,
    events_of_windows,
    fewer_background,
    within,
)
from unmute_jax.datasets.files import Folder
from unmute_jax.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowEntry:
    """A window that has not been read yet.

    Attributes:
        id: Name of the window: its recording and its beginning in seconds.
        file: Its recording, as a path from the root of the data set.
        start: Its first sample, at the rate of the recording.
        end: The sample after its last one.
        samples: Length of the recording in samples.
        events: Classes with onsets and offsets in seconds from the beginning of the
            window. Every class of the window has an event.
        is_last: Whether no other window of the recording follows.
    """

    id: str
    file: str
    start: int
    end: int
    samples: int
    events: tuple[tuple[str, float, float], ...]
    is_last: bool


def plan_windows(
    files: Folder,
    events: Mapping[str, Sequence[SoundEvent]],
    cut: Cut,
    background: float | None,
    *,
    skips: bool,
) -> tuple[list[WindowEntry], list[str]]:
    """Plans the windows of all recordings.

    Args:
        files: The recordings.
        events: The events of each recording, by its path from the root.
        cut: How recordings are cut.
        background: The number of windows without a label for each labelled one; None
            for all.
        skips: Whether recordings that cannot be opened are left out.

    Returns:
        The windows, ordered by recording and beginning, and notes on what is left out.

    Raises:
        InputError: A recording cannot be opened, or an event lies beyond its end.
    """
    windows: list[WindowEntry] = []
    notes: list[str] = []
    lost = 0
    for name in sorted(events):
        try:
            with AudioFile(files.path(name)) as file:
                rate, samples = file.sample_rate, round(file.seconds * file.sample_rate)
        except InputError as error:
            if not skips:
                raise
            notes.append(f"left out: {error}")
            continue
        inside = within(events[name], name, samples / rate)
        spans = cut.spans(samples, rate)
        seconds = [(first / rate, last / rate) for first, last in spans]
        found = events_of_windows(inside, seconds, cut)
        lost += len(inside) - len({id(event) for some in found for event in some})
        windows += [
            WindowEntry(
                id=f"{name}-{start:.3f}",
                file=name,
                start=first,
                end=last,
                samples=samples,
                events=tuple(
                    (e.label, max(e.onset - start, 0.0), min(e.offset, end) - start)
                    for e in of_window
                ),
                is_last=False,
            )
            for (first, last), (start, end), of_window in zip(
                spans, seconds, found, strict=True
            )
        ]
    if lost:
        notes.append(f"events that lie between two windows: {lost}")
    is_labelled = [bool(window.events) for window in windows]
    count = f"windows: {len(windows)}, with a label: {sum(is_labelled)}"
    if background is not None:
        ids = [window.id for window in windows]
        windows = [windows[i] for i in fewer_background(ids, is_labelled, background)]
        count += f", kept: {len(windows)}"
    last = {window.file: i for i, window in enumerate(windows)}
    marked = [
        dataclasses.replace(window, is_last=last[window.file] == i)
        for i, window in enumerate(windows)
    ]
    return marked, [*notes, count]
