"""Selection tables of Raven: tab-separated text, one or more rows for each selection.

Raven writes one row for each view in which a selection is seen ("Waveform 1",
"Spectrogram 1"). If several recordings are open as one sequence, Begin Time counts from
the beginning of the first; the columns Begin File (or Begin Path, in tables of other
programs) and File Offset then say where in which recording a selection begins. If End
File is another recording, the selection
lasts to the end of the first of the two, and its rest in the second is lost.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from unmute_jax.datasets.annotations import columns
from unmute_jax.datasets.annotations.events import SoundEvent, check_times, one_line
from unmute_jax.datasets.tables import Line, parse_table
from unmute_jax.errors import InputError

BEGIN, END = "Begin Time (s)", "End Time (s)"
FILE, PATH, END_FILE = "Begin File", "Begin Path", "End File"
FILE_OFFSET = "File Offset (s)"
WRITTEN = (
    "Selection",
    "View",
    "Channel",
    BEGIN,
    END,
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Class",
    "Score",
)


def is_selection_table(text: str) -> bool:
    """Whether the first line of a text is the header of a selection table."""
    header = text.lstrip().partition("\n")[0].split("\t")
    return {BEGIN, END} <= {name.strip() for name in header}


def read(text: str, where: str, label_column: str = "") -> tuple[list[SoundEvent], str]:
    """Reads a selection table.

    Args:
        text: The content of the table.
        where: The name of the table, for messages.
        label_column: The column with the labels; empty for the first of
            `columns.LABEL_NAMES` that is not empty.

    Returns:
        The events, ordered by onset, and the column with their labels, which is empty
        if there are no events.

    Raises:
        InputError: The table has no label column, a row has a time that is no number,
            or it is not known in which recording the events are.
    """
    lines = parse_table(
        text, where, (BEGIN, END), delimiter="\t", has_quotes=False, fills_up=True
    )
    lines = [
        dataclasses.replace(
            line, values={name: _unquoted(field) for name, field in line.values.items()}
        )
        for line in lines
    ]
    if not lines:
        return [], ""
    column = columns.label_column(lines, where, label_column)
    _check_sequence(lines, where)
    # The same selection in another view is the same event.
    views: dict[tuple[str, ...], str] = {}
    events: list[SoundEvent] = []
    for line in lines:
        about = ("Selection", BEGIN, END, FILE, PATH, FILE_OFFSET, column)
        selection = tuple(line.get(name) for name in about)
        if views.setdefault(selection, line.get("View")) == line.get("View"):
            events.append(_event(line, column))
    return sorted(events, key=lambda event: (event.file, event.onset)), column


def write(events: Sequence[SoundEvent]) -> str:
    """Formats events for Raven (File > Open Selection Table, on the open recording)."""
    out = io.StringIO()
    # Raven takes a quote for an ordinary character. Labels contain no tabs.
    writer = csv.writer(
        out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
    )
    writer.writerow(WRITTEN)
    for i, event in enumerate(events, start=1):
        writer.writerow(
            (
                str(i),
                "Spectrogram 1",
                "1",
                f"{event.onset:.6f}",
                f"{event.offset:.6f}",
                "" if event.low_hz is None else f"{event.low_hz:.1f}",
                "" if event.high_hz is None else f"{event.high_hz:.1f}",
                one_line(event.label),
                "" if event.score is None else f"{event.score:.4f}",
            )
        )
    return out.getvalue()


def _check_sequence(lines: Sequence[Line], where: str) -> None:
    """Refuses times that count from the beginning of another recording."""
    files = {_file(line) for line in lines}
    if len(files) > 1 and not all(line.get(FILE_OFFSET) for line in lines):
        raise InputError(
            f"{where}: names {len(files)} recordings but not the onset in each; export "
            f"the column {FILE_OFFSET!r} too"
        )


def _event(line: Line, column: str) -> SoundEvent:
    onset, offset = line.seconds(BEGIN), line.seconds(END)
    if line.get(FILE_OFFSET):
        begin = line.seconds(FILE_OFFSET)
        goes_on = line.get(END_FILE) not in ("", line.get(FILE))
        onset, offset = begin, math.inf if goes_on else begin + (offset - onset)
    return check_times(
        SoundEvent(
            onset=onset,
            offset=offset,
            label=line[column],
            file=_file(line),
            where=line.where,
        )
    )


def _file(line: Line) -> str:
    return line.get(FILE) or line.get(PATH)


def _unquoted(field: str) -> str:
    """Removes the quotes that a spreadsheet puts around a field when it saves it."""
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"')
    return field
