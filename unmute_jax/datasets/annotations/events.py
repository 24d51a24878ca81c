"""Sound events: stretches of a recording with the name of what sounds there."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field

from unmute_jax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SoundEvent:
    """A stretch of a recording in which a class was annotated or detected.

    Attributes:
        onset: The beginning in seconds from the beginning of the recording.
        offset: The end in seconds; equal to the onset for a point label, and infinite
            if the event goes on in the next recording.
        label: The name of the class.
        score: The highest score of a detection; None for an annotation.
        low_hz: The lower end of its frequency band in Hz; None if it is unknown.
        high_hz: The upper end of that band in Hz; None if it is unknown.
        file: The recording as the annotation names it; empty if it names none.
        where: The file and line of the annotation, for messages.
    """

    onset: float
    offset: float
    label: str
    score: float | None = None
    low_hz: float | None = None
    high_hz: float | None = None
    file: str = field(default="", compare=False)
    where: str = field(default="", compare=False)

    def __str__(self) -> str:
        name = self.label or "without a label"
        return f"{name!r} from {self.onset:g} to {self.offset:g} s"


def check_times(event: SoundEvent) -> SoundEvent:
    """Returns the event.

    Raises:
        InputError: It begins before the recording, or ends before it begins.
    """
    if event.onset < 0 or event.offset < event.onset:
        raise InputError(
            f"{event.where}: an event cannot last from {event.onset:g} to "
            f"{event.offset:g} s"
        )
    return event


def one_line(name: str) -> str:
    """Removes tabs, line breaks and other control characters.

    Label tracks and selection tables forbid tabs and line breaks, and the programs that
    read them stop at a NUL. The name is not shortened.
    """
    is_control = {c for c in name if unicodedata.category(c) == "Cc"}
    return " ".join("".join(" " if c in is_control else c for c in name).split())
