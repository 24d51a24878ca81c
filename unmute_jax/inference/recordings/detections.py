"""What was found in recordings, and the files that say so."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from unmute_jax.inference.recordings import selections
from unmute_jax.inference.recordings.band import NOTABLE
from unmute_jax.inference.recordings.events import Event, find_events
from unmute_jax.inference.recordings.evidence_plot import evidence_png
from unmute_jax.inference.recordings.listener import Listener
from unmute_jax.inference.recordings.partial_results import Heard, Journal
from unmute_jax.inference.recordings.windows import Cut, Recording, Window, read_windows
from unmute_jax.io import write_atomically

# Windows of a recording, and classes of a window, that are drawn.
MOST_PLOTS, MOST_CLASSES = 10, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What is kept of a recording that was heard to its end.

    Attributes:
        recording: Which one.
        seconds: Its length.
        above: Share of its energy above the band of the encoder, where it is known.
        best: Per class the window with the highest score, by that score.
        events: By start.
        drawn: The windows worth a picture.
    """

    recording: Recording
    seconds: float
    above: float | None
    best: tuple[tuple[str, float, Heard], ...]
    events: tuple[Event, ...]
    drawn: tuple[tuple[int, Heard], ...]


def summarise(
    journal: Journal, listener: Listener, thresholds: Float[np.ndarray, "C"]
) -> Found:
    """What a finished journal says."""
    assert journal.end is not None
    trained, windows = listener.trained, journal.windows
    scores = np.stack([w.scores for w in windows])
    best = [
        (name, float(scores[i, c]), windows[i])
        for c, (name, i) in enumerate(
            zip(trained.classes, scores.argmax(0), strict=True)
        )
    ]
    return Found(
        recording=journal.recording,
        seconds=journal.end.seconds,
        above=journal.end.above,
        best=tuple(sorted(best, key=lambda x: -x[1])),
        events=tuple(
            find_events(windows, trained.classes, thresholds, trained.geometry)
        ),
        drawn=tuple((i, windows[i]) for i in _worth_drawing(scores, thresholds)),
    )


def note(found: Found, highest_hz: float) -> str | None:
    """What a person should know of the recording; None where there is nothing."""
    if found.above is None or found.above < NOTABLE:
        return None
    return (
        f"{found.recording.path}: {100 * found.above:.0f} % of its energy lies above "
        f"{highest_hz:,.0f} Hz, where this encoder hears nothing"
    )


def write_tables(folder: pathlib.Path, all_found: Sequence[Found]) -> None:
    """Writes the events of all recordings as csv, and of each one as selections."""
    rows = [(f.recording.name, e) for f in all_found for e in f.events]
    write_atomically(folder / "predictions.csv", selections.table(rows))
    for found in all_found:
        name = f"{found.recording.name}.txt"
        tables = {"audacity": selections.audacity, "raven": selections.raven}
        for kind, written in tables.items():
            write_atomically(folder / kind / name, written(found.events))


def write_thresholds(
    folder: pathlib.Path, classes: Sequence[str], thresholds: Float[np.ndarray, "C"]
) -> None:
    """Writes `thresholds.csv`, in the form in which thresholds are read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("class", "threshold"))
    writer.writerows((c, f"{t:.6g}") for c, t in zip(classes, thresholds, strict=True))
    write_atomically(folder / "thresholds.csv", out.getvalue())


def draw(
    folder: pathlib.Path,
    found: Found,
    listener: Listener,
    cut: Cut,
    thresholds: Float[np.ndarray, "C"],
) -> Iterator[pathlib.Path]:
    """Draws the windows of a recording that are worth it; gives the files."""
    heard = dict(found.drawn)
    windows = list(_windows(found.recording, cut, heard))
    size = listener.batch_size
    for start in range(0, len(windows), size):
        batch = windows[start : start + size]
        for window, maps in zip(batch, listener.evidence(batch), strict=True):
            scores = heard[window.index].scores
            name = f"{found.recording.name}-{window.start:06.1f}s.png"
            picture = evidence_png(
                window,
                cut.sample_rate,
                {
                    f"{listener.trained.classes[c]} {scores[c]:.2f}": maps[c]
                    for c in _shown(scores, thresholds)
                },
                listener.trained.geometry,
                f"{found.recording.name} · {listener.trained.name} on "
                f"{listener.trained.encoder_description}",
            )
            write_atomically(folder / "plots" / name, picture)
            yield folder / "plots" / name


def _windows(
    recording: Recording, cut: Cut, wanted: dict[int, Heard]
) -> Iterator[Window]:
    for piece in read_windows(recording, cut):
        if isinstance(piece, Window) and piece.index in wanted:
            yield piece
            if piece.index == max(wanted):
                return


def _worth_drawing(scores: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """The windows with the surest detections; without any, the best one."""
    sure = np.where(scores >= thresholds[None], scores, 0.0).max(1)
    ranked = [int(i) for i in np.argsort(-sure, kind="stable") if sure[i] > 0]
    return sorted(ranked[:MOST_PLOTS]) or [int(scores.max(1).argmax())]


def _shown(scores: np.ndarray, thresholds: np.ndarray) -> list[int]:
    """The classes that were heard, surest first; without any, the best one."""
    order = [int(c) for c in np.argsort(-scores, kind="stable")]
    heard = [c for c in order if scores[c] >= thresholds[c]]
    return heard[:MOST_CLASSES] or order[:1]
