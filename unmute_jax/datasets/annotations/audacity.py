r"""Label tracks of Audacity: onset, offset and text of a label, separated by tabs.

A label without a length is a point. A second line, which begins with a backslash, may
follow with the lower and the upper end of the frequency band in Hz; it is written and
not read, because nothing needs the bands of annotations.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from unmute_jax.datasets.annotations.events import SoundEvent, check_times, one_line
from unmute_jax.datasets.tables import Line
from unmute_jax.errors import InputError

# The score that `write` puts behind the name of a class.
_SCORE = re.compile(r" \[[01]\.\d\d\]$")


def is_label_track(text: str) -> bool:
    """Whether the first line of a text is a label, or the text is an empty track."""
    first = text.lstrip().partition("\n")[0].split("\t")
    return not text.strip() or (len(first) > 1 and all(map(_is_number, first[:2])))


def read(text: str, where: str) -> list[SoundEvent]:
    """Reads a label track.

    Args:
        text: The content of the track.
        where: The name of the track, for messages.

    Returns:
        The events in the order of the file. Scores that `write` put into the labels are
        not part of the labels.

    Raises:
        InputError: A line is neither a label nor a frequency band.
    """
    events: list[SoundEvent] = []
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip() or (line.startswith("\\") and events):
            continue
        place = f"{where}, line {number}"
        onset, offset, *rest = [*line.split("\t", 2), ""][:3]
        # Old versions wrote the comma of the user's language.
        times = Line({"onset": onset, "offset": offset}, place, True)
        if not rest:
            raise InputError(f"{place}: is not a label: onset, offset, text")
        event = SoundEvent(
            onset=times.seconds("onset"),
            offset=times.seconds("offset"),
            label=_SCORE.sub("", rest[0].strip()),
            where=place,
        )
        events.append(check_times(event))
    return events


def write(events: Sequence[SoundEvent]) -> str:
    """Formats events as a label track (File > Import > Labels).

    The score of an event stands in brackets behind the name of its class, and the
    frequency band in a second line.
    """
    return "".join(
        f"{e.onset:.6f}\t{e.offset:.6f}\t{one_line(e.label)}{_score(e)}\n{_band(e)}"
        for e in events
    )


def _score(event: SoundEvent) -> str:
    return "" if event.score is None else f" [{event.score:.2f}]"


def _band(event: SoundEvent) -> str:
    if event.low_hz is None or event.high_hz is None:
        return ""
    return f"\\\t{event.low_hz:.6f}\t{event.high_hz:.6f}\n"


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
