"""Cuts recordings into windows, and says which events count in which window."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError

# Seconds by which the end of an event may lie beyond the end of its recording: decoders
# and annotation programs do not agree about the last samples of a compressed file.
BEYOND_END = 1.0
# Share of a window that a rest at the end of a recording must have to get a window.
LEAST_REST = 0.01
# Seconds by which computed times may be wrong.
ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How recordings are cut into windows.

    Attributes:
        window: The length of a window in seconds.
        hop: The seconds from the beginning of one window to that of the next.
        min_overlap: The seconds of an event that a window must contain for its label to
            count; half of the event or half of the window if that is less.
    """

    window: float
    hop: float
    min_overlap: float

    def __post_init__(self) -> None:
        if self.window <= 0 or self.hop <= 0 or self.min_overlap < 0:
            raise InputError(
                f"window={self.window:g}, hop={self.hop:g} and "
                f"min_overlap={self.min_overlap:g} are seconds: the first two must be "
                "above 0 and the last not below"
            )

    def spans(self, samples: int, rate: int) -> list[tuple[int, int]]:
        """Returns the first sample of each window, and the sample after its last one.

        The last window ends with the recording, so that all windows have one length;
        with a hop that is longer than a window there is no such window.

        Args:
            samples: The length of the recording in samples.
            rate: Its sample rate in Hz.
        """
        length = min(max(1, round(self.window * rate)), samples)
        hop = max(1, round(self.hop * rate))
        starts = list(range(0, samples - length + 1, hop))
        rest = samples - (starts[-1] + length)
        if hop <= length and rest > LEAST_REST * length:
            starts.append(samples - length)
        return [(start, start + length) for start in starts]

    def counts(self, event: SoundEvent, start: float, end: float) -> bool:
        """Whether the label of an event counts in a window.

        The window contains `min_overlap` seconds of the event, or half of the event, or
        is filled by it to a half. So an event always counts in some window, unless
        there are gaps between windows. A point counts where it lies.
        """
        if event.onset == event.offset:
            return start <= event.onset < end
        overlap = min(event.offset, end) - max(event.onset, start)
        shorter = min(event.offset - event.onset, end - start)
        least = min(self.min_overlap, shorter / 2)
        return overlap > 0 and overlap >= least - ROUNDING


def events_of_windows(
    events: Iterable[SoundEvent], spans: Sequence[tuple[float, float]], cut: Cut
) -> list[list[SoundEvent]]:
    """Returns the events that count in each window, ordered by onset.

    Args:
        events: The events of a recording.
        spans: The beginning and the end of each window in seconds, in order.
        cut: The rule.
    """
    in_order = sorted(events, key=lambda event: event.onset)
    found: list[list[SoundEvent]] = []
    active: list[SoundEvent] = []
    waiting = iter(in_order)
    following = next(waiting, None)
    for start, end in spans:
        while following is not None and following.onset < end:
            active.append(following)
            following = next(waiting, None)
        active = [event for event in active if event.offset >= start]
        found.append([event for event in active if cut.counts(event, start, end)])
    return found


def within(
    events: Iterable[SoundEvent], recording: str, seconds: float
) -> list[SoundEvent]:
    """Returns the events of a recording, cut off at its end.

    Args:
        events: The events.
        recording: The name of the recording, for messages.
        seconds: Its length.

    Raises:
        InputError: An event lies beyond the end of the recording.
    """
    inside: list[SoundEvent] = []
    for event in events:
        is_late = math.isfinite(event.offset) and event.offset > seconds + BEYOND_END
        if event.onset >= seconds or is_late:
            raise InputError(
                f"{event.where}: {event} is beyond the end of {recording}, which lasts "
                f"{seconds:g} s; onsets and offsets are in seconds"
            )
        offset = min(event.offset, seconds)
        inside.append(dataclasses.replace(event, offset=offset))
    return inside


def fewer_background(
    ids: Sequence[str], is_labelled: Sequence[bool], share: float
) -> list[int]:
    """Chooses windows so that there are not too many without a label.

    Which of them are kept depends on their names alone, so it is the same in every run.

    Args:
        ids: The name of each window.
        is_labelled: Whether each window has a label.
        share: The number of windows without a label for each labelled one.

    Returns:
        The indices of the windows that are kept, in order.
    """
    rest = [i for i, labelled in enumerate(is_labelled) if not labelled]
    rest.sort(key=lambda i: hashlib.sha256(ids[i].encode()).digest())
    dropped = set(rest[round(share * sum(is_labelled)) :])
    return [i for i in range(len(ids)) if i not in dropped]
