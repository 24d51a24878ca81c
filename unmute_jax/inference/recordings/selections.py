"""Events as tables: csv, label tracks of Audacity, selections of Raven."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from unmute_jax.inference.recordings.events import Event

COLUMNS = ("file", "start_s", "end_s", "class", "score", "low_hz", "high_hz")
RAVEN = (
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


def table(events: Sequence[tuple[str, Event]]) -> str:
    """A csv of events and the names of their recordings."""
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
    return _joined(COLUMNS, rows, ",")


def audacity(events: Sequence[Event]) -> str:
    """A label track: File > Import > Labels. The band is in a second line each."""
    return "".join(
        f"{e.start:.6f}\t{e.end:.6f}\t{_plain(e.name)} {e.score:.2f}\n"
        f"\\\t{e.low_hz:.6f}\t{e.high_hz:.6f}\n"
        for e in events
    )


def raven(events: Sequence[Event]) -> str:
    """A selection table: File > Open Selection Table, on the open recording."""
    rows = (
        (
            str(i),
            "Spectrogram 1",
            "1",
            f"{e.start:.6f}",
            f"{e.end:.6f}",
            f"{e.low_hz:.1f}",
            f"{e.high_hz:.1f}",
            _plain(e.name),
            f"{e.score:.4f}",
        )
        for i, e in enumerate(events, start=1)
    )
    return _joined(RAVEN, rows, "\t")


def _joined(
    header: Sequence[str], rows: Iterable[Sequence[str]], delimiter: str
) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _plain(name: str) -> str:
    """A name that cannot end its cell: neither program knows quotes."""
    return " ".join(name.split())
