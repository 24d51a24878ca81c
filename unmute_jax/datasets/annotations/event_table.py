"""Tables of events in csv files: one line for each event of any recording.

The columns are `file`, `onset`, `offset` (in seconds) and `label`. A line that has only
a file says that it was annotated and contains no event. Optional columns are `group`
(or `site`; recordings of one group stay in one split) and `split`. The names that
`unmute predict` and other programs use for these columns are understood too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unmute_jax.datasets.annotations import columns
from unmute_jax.datasets.annotations.events import SoundEvent, check_times
from unmute_jax.datasets.names import SPLITS, normal_name, split_named
from unmute_jax.datasets.tables import Line, csv_text, parse_table
from unmute_jax.errors import InputError, unknown_name

# The names of each column, as `columns.canonical` returns them.
FILE = ("file", "filename", "file_name", "recording", "begin_file", "path")
ONSET = ("onset", "start", "start_time", "begin", "begin_time")
OFFSET = ("offset", "end", "end_time")
GROUP = ("group", "site")
WRITTEN = ("file", "start_s", "end_s", "class", "score", "low_hz", "high_hz")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        file: The recording as the table names it.
        event: The event; None if the line only says that the recording was annotated.
        group: The group of the recording; empty if the table names none.
        split: "train", "validation" or "test"; empty if the table names none.
        where: The file and line, for messages.
    """

    file: str
    event: SoundEvent | None
    group: str
    split: str
    where: str


def read(text: str, where: str, label_column: str = "") -> list[Row]:
    """Reads a table of events.

    Args:
        text: The content of the table, with commas, semicolons or tabs.
        where: The name of the table, for messages.
        label_column: The column with the labels; empty for the usual names.

    Raises:
        InputError: A column is missing, a time is no number, a line has a part of an
            event only, or a split has an unknown name.
    """
    lines = parse_table(text, where, (), delimiter=None)
    if not lines:
        raise InputError(f"{where}: names no recording")
    file, onset, offset = (
        _column(lines, where, names) for names in (FILE, ONSET, OFFSET)
    )
    label = columns.label_column(lines, where, label_column)
    group, split = (columns.find_column(lines, names) for names in (GROUP, ("split",)))
    rows: list[Row] = []
    for line in lines:
        if not line[file]:
            raise InputError(f"{line.where}: names no file")
        row = Row(
            file=line[file],
            event=_event(line, onset, offset, label),
            group=normal_name(line.get(group or "")),
            split=_split(line, split),
            where=line.where,
        )
        rows.append(row)
    return rows


def write(events: Sequence[tuple[str, SoundEvent]]) -> str:
    """Formats events, each with the name of its recording, as csv."""
    rows = [
        (
            name,
            f"{e.onset:.3f}",
            f"{e.offset:.3f}",
            e.label,
            "" if e.score is None else f"{e.score:.4f}",
            "" if e.low_hz is None else f"{e.low_hz:.0f}",
            "" if e.high_hz is None else f"{e.high_hz:.0f}",
        )
        for name, e in events
    ]
    return csv_text([WRITTEN, *rows])


def _column(lines: Sequence[Line], where: str, names: Sequence[str]) -> str:
    column = columns.find_column(lines, names)
    if column is None:
        raise InputError(
            f"{where}: has no column {names[0]}, only {', '.join(lines[0].values)}"
        )
    return column


def _split(line: Line, column: str | None) -> str:
    value = line[column] if column else ""
    if value and not split_named(value):
        raise unknown_name("split", value, SPLITS, line.where)
    return split_named(value) or ""


def _event(line: Line, onset: str, offset: str, label: str) -> SoundEvent | None:
    if not (line[onset] or line[offset] or line[label]):
        return None
    return check_times(
        SoundEvent(
            onset=line.seconds(onset),
            offset=line.seconds(offset),
            label=line[label],
            where=line.where,
        )
    )
