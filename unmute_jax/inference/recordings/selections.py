"""Formats events as CSV, as label tracks for Audacity, and as selections for Raven."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from unmute_jax.inference.recordings.events import Event

COLUMNS = ("file", "start_s", "end_s", "class", "score", "low_hz", "high_hz")
RAVEN_COLUMNS = (
    "Selection",
    "View",
    "Channel",
    "Begin Time (s)",
    "End Time (s)",
    "Low Freq (Hz)",
    "High Freq (Hz)",
    "Class",
    "Score",
)


def csv_table(events: Sequence[tuple[str, Event]]) -> str:
    """Formats events, each with the name of its recording, as CSV."""
    rows = (
        (
            name,
            f"{e.start:.3f}",
            f"{e.end:.3f}",
            e.name,
            f"{e.score:.4f}",
            f"{e.low_hz:.0f}",
            f"{e.high_hz:.0f}",
        )
        for name, e in events
    )
    return _join(COLUMNS, rows, ",")


def audacity_labels(events: Sequence[Event]) -> str:
    """Formats events as a label track for Audacity (File > Import > Labels).

    The frequency band of an event is in a second line.
    """
    return "".join(
        f"{e.start:.6f}\t{e.end:.6f}\t{_one_line(e.name)} {e.score:.2f}\n"
        f"\\\t{e.low_hz:.6f}\t{e.high_hz:.6f}\n"
        for e in events
    )


def raven_table(events: Sequence[Event]) -> str:
    """Formats events for Raven (File > Open Selection Table, on the open recording)."""
    rows = (
        (
            str(i),
            "Spectrogram 1",
            "1",
            f"{e.start:.6f}",
            f"{e.end:.6f}",
            f"{e.low_hz:.1f}",
            f"{e.high_hz:.1f}",
            _one_line(e.name),
            f"{e.score:.4f}",
        )
        for i, e in enumerate(events, start=1)
    )
    return _join(RAVEN_COLUMNS, rows, "\t")


def _join(header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _one_line(name: str) -> str:
    """Removes tabs and line breaks, which neither program allows even in quotes."""
    return " ".join(name.split())
