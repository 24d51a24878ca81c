"""Compares what was detected in recordings with their annotations.

A window has a class if it contains enough of an annotated event, by the rule by which
windows get their labels in training (`datasets.annotations.windows.Cut`). So every
window is right or wrong about every class, and precision, recall and F1 count windows.

If the probe was trained on time steps, these take the place of windows, and a step has
a class if an event fills half of it.

Events are counted as well: an annotated event is found if a detection of its class
overlaps with it, and a detection is right if it overlaps with an annotated event of its
class. Onsets and offsets are compared only for time steps, because windows are long.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from rich import box
from rich.table import Table
from rich.text import Text

from unmute_jax.audio.decode import AudioFile
from unmute_jax.config import Frames
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.reading import read_annotations
from unmute_jax.datasets.annotations.species import map_labels, read_species_list
from unmute_jax.datasets.annotations.windows import Cut, events_of_windows, within
from unmute_jax.datasets.names import listed, normal_name
from unmute_jax.datasets.tables import csv_text
from unmute_jax.errors import InputError, one_line
from unmute_jax.inference.recordings.calibration_plot import calibration_png
from unmute_jax.inference.recordings.partial_results import WindowScores
from unmute_jax.inference.recordings.windows import RecordingFile
from unmute_jax.io import write_atomically
from unmute_jax.metrics.decisions import (
    Calibration,
    Counts,
    calibration,
    count_decisions,
    overlapping,
    rates,
)
from unmute_jax.metrics.events import event_f1, has_sed_eval
from unmute_jax.metrics.frames import merge_overlaps
from unmute_jax.metrics.ranking import mean_average_precision

# Seconds of an event that a window must contain, as in training by default.
MIN_OVERLAP = 0.25
ALL = "all classes"
# Longer names of classes are cut in the table of the terminal.
MOST_LETTERS = 60


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The annotations that detections are compared with.

    Attributes:
        classes: The classes of the probe.
        events: The events of each annotated recording whose classes the probe knows.
        cut: The rule by which a window has the class of an event.
        notes: What is not compared: recordings without annotations, and classes that
            the probe or the annotations do not know.
    """

    classes: tuple[str, ...]
    events: dict[str, list[SoundEvent]]
    cut: Cut
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Detections compared with annotations.

    Attributes:
        classes: The classes of the probe.
        thresholds: The threshold of each class.
        windows: The number of windows.
        counts: Counts of windows.
        average_precision: The average precision of each class over windows, for which
            thresholds do not matter; NaN for a class that is in no window.
        events: For each class the numbers of annotated events, of those that were
            found, of detections, and of those that are right.
        calibration: The scores of all windows and classes beside the annotations.
        event_f1: The F1 of events with right onsets and offsets, if time steps were
            compared and `sed_eval` is installed; otherwise None.
    """

    classes: tuple[str, ...]
    thresholds: Float[np.ndarray, "C"]
    windows: int
    counts: Counts
    average_precision: Float[np.ndarray, "C"]
    events: Int[np.ndarray, "C 4"]
    calibration: Calibration
    event_f1: float | None = None


def read_reference(
    place: pathlib.Path,
    recordings: Sequence[RecordingFile],
    classes: Sequence[str],
    window_seconds: float,
    options: Mapping[str, Any],
) -> Reference:
    """Reads the annotations of recordings, before anything is detected in them.

    Args:
        place: The folder or table of annotations, see `read_annotations`.
        recordings: The recordings.
        classes: The classes of the probe.
        window_seconds: The length of a window.
        options: The options `label_column`, `species_list` and `min_overlap` of
            `config.DatasetOptions`, each None for its default.

    Raises:
        InputError: The annotations cannot be read, lie beyond the end of a recording,
            belong to none of the recordings, or have no class of the probe.
    """
    paths = {one.name: one.path.absolute() for one in recordings}
    found = read_annotations(place, paths, options.get("label_column") or "")
    species = options.get("species_list")
    class_of = read_species_list(species) if species else None
    mapped, notes = map_labels(found.events, class_of, "skip")
    notes = [*found.notes, *notes]
    if not mapped:
        raise InputError(f"{place}: holds no annotations of {listed(list(paths))}")
    for name in mapped:
        mapped[name] = within(mapped[name], name, _seconds(paths[name]))
    if without := [name for name in paths if name not in mapped]:
        notes.append(f"not compared, as they have no annotations: {listed(without)}")
    if found.lost:
        notes.append(f"annotations of other recordings: {len(found.lost)}")
    annotated = {event.label for events in mapped.values() for event in events}
    # Names whose class is empty are left out on purpose, and there may be no others.
    labels = {normal_name(e.label) for events in found.events.values() for e in events}
    meant = sorted(x for x in labels if class_of is None or class_of.get(x) != "")
    if meant and annotated.isdisjoint(classes):
        raise InputError(
            f"{place}: none of its labels ({listed([x or '(empty)' for x in meant])}) "
            f"is a class of the probe ({listed(list(classes))}); --label_column names "
            "another column, and --species_list maps labels to classes"
        )
    if unknown := sorted(annotated - set(classes)):
        notes.append(
            f"annotated classes that the probe does not know: {listed(unknown)}"
        )
    if absent := [name for name in classes if name not in annotated]:
        notes.append(f"classes of the probe that are never annotated: {listed(absent)}")
    least = options.get("min_overlap")
    return Reference(
        classes=tuple(classes),
        events={
            name: [event for event in events if event.label in classes]
            for name, events in mapped.items()
        },
        cut=Cut(
            window=window_seconds,
            hop=window_seconds,
            min_overlap=MIN_OVERLAP if least is None else least,
        ),
        notes=tuple(notes),
    )


def labels_of_windows(
    reference: Reference, recording: str, windows: Sequence[WindowScores]
) -> Bool[np.ndarray, "W C"]:
    """Returns the classes that the annotations give to each window of a recording."""
    spans = [(window.start, window.end) for window in windows]
    labels = np.zeros((len(spans), len(reference.classes)), bool)
    found = events_of_windows(reference.events[recording], spans, reference.cut)
    for row, of_window in enumerate(found):
        for event in of_window:
            labels[row, reference.classes.index(event.label)] = True
    return labels


def compare(
    reference: Reference,
    thresholds: Float[np.ndarray, "C"],
    windows: Mapping[str, Sequence[WindowScores]],
    detected: Mapping[str, Sequence[SoundEvent]],
    frames: Frames | None = None,
) -> Evaluation:
    """Compares detections with annotations.

    Args:
        reference: The annotations.
        thresholds: The threshold of each class.
        windows: The scores of each recording in its windows or time steps. Recordings
            without annotations are left out.
        detected: The detected events of the same recordings.
        frames: When onsets and offsets are right, to compare them as well.

    Raises:
        InputError: None of the recordings is annotated.
    """
    names = [name for name in windows if name in reference.events]
    if not names:
        raise InputError("none of the annotated recordings could be read")
    true = np.concatenate(
        [labels_of_windows(reference, name, windows[name]) for name in names]
    )
    scores = np.stack([w.scores for name in names for w in windows[name]])
    events = np.zeros((len(reference.classes), 4), np.int64)
    for name in names:
        for c, label in enumerate(reference.classes):
            annotated, found = (
                [(e.onset, e.offset) for e in of_one if e.label == label]
                for of_one in (reference.events[name], detected[name])
            )
            events[c] += (
                len(annotated),
                overlapping(annotated, found),
                len(found),
                overlapping(found, annotated),
            )
    return Evaluation(
        classes=reference.classes,
        thresholds=thresholds,
        windows=len(scores),
        counts=count_decisions(scores >= thresholds, true),
        average_precision=mean_average_precision(
            scores, true.astype(np.int8)
        ).per_class,
        events=events,
        calibration=calibration(scores, true),
        event_f1=_event_f1(reference, names, detected, frames),
    )


COLUMNS = (
    *("class", "threshold", "windows", "annotated_windows"),
    *("true_positives", "false_positives", "false_negatives"),
    *("precision", "recall", "f1", "average_precision"),
    *("annotated_events", "found_events", "detections", "right_detections"),
)


def rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per class, by the names of `COLUMNS`, and one of the sums over classes.

    What cannot be computed is NaN, such as the recall of a class that is not annotated.
    """
    counts, events = evaluation.counts, evaluation.events
    sums = Counts(*(count.sum(keepdims=True) for count in counts))
    parts = [
        (evaluation.classes, evaluation.thresholds, counts, events),
        ((ALL,), np.array([np.nan]), sums, events.sum(0, keepdims=True)),
    ]
    table: list[dict[str, Any]] = []
    for names, thresholds, of_part, of_events in parts:
        precision, recall, f1 = rates(of_part)
        ap = evaluation.average_precision
        if names == (ALL,):
            ap = np.array([np.nanmean(ap) if np.isfinite(ap).any() else np.nan])
        for c, name in enumerate(names):
            tp, fp, fn = (int(count[c]) for count in of_part)
            values = (
                *(name, float(thresholds[c]), evaluation.windows, tp + fn, tp, fp, fn),
                *(float(x[c]) for x in (precision, recall, f1, ap)),
                *(int(n) for n in of_events[c]),
            )
            table.append(dict(zip(COLUMNS, values, strict=True)))
    return table


def as_csv(evaluation: Evaluation) -> str:
    """Formats `rows` as csv; what cannot be computed is empty."""
    lines = [
        [
            ""
            if isinstance(value, float) and np.isnan(value)
            else f"{value:.6g}"
            if isinstance(value, float)
            else value
            for value in row.values()
        ]
        for row in rows(evaluation)
    ]
    return csv_text([COLUMNS, *lines])


def as_table(evaluation: Evaluation, unit: str) -> Table:
    """Formats `rows` for the terminal, without classes of which nothing is known.

    Args:
        evaluation: The comparison.
        unit: What was compared, "windows" or "time steps".
    """
    table = Table(
        title=f"Against the annotations of {evaluation.windows:,} {unit}",
        caption=f"TP, FP and FN are {unit}; precision, recall, F1 and AP are in %.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("class", no_wrap=True)
    names = ("TP", "FP", "FN", "precision", "recall", "F1", "AP")
    for name in (*names, "events\nfound", "detections\nright"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows(evaluation):
        counts = [row[name] for name in COLUMNS[3:7]]
        if not any(counts) and row["class"] != ALL:
            continue
        table.add_row(
            Text(one_line(row["class"], MOST_LETTERS)),
            *(f"{count:,}" for count in counts[1:]),
            *(
                "-" if np.isnan(row[name]) else f"{100 * row[name]:.1f}"
                for name in COLUMNS[7:11]
            ),
            f"{row['found_events']:,}/{row['annotated_events']:,}",
            f"{row['right_detections']:,}/{row['detections']:,}",
            end_section=row["class"] == evaluation.classes[-1],
        )
    return table


def write_evaluation(folder: pathlib.Path, evaluation: Evaluation, title: str) -> None:
    """Writes `against.csv`, `calibration.csv` and `calibration.png`.

    Args:
        folder: The folder to write to.
        evaluation: The comparison.
        title: The title of the picture.
    """
    write_atomically(folder / "against.csv", as_csv(evaluation))
    bins = evaluation.calibration
    lines = ["from,to,scores,mean_score,annotated_share\n"]
    for i, n in enumerate(bins.counts):
        means = (bins.mean_scores[i], bins.true_shares[i])
        shown = ",".join(f"{x:.6g}" if n else "" for x in means)
        lines.append(f"{bins.edges[i]:g},{bins.edges[i + 1]:g},{n},{shown}\n")
    write_atomically(folder / "calibration.csv", "".join(lines))
    write_atomically(folder / "calibration.png", calibration_png(bins, title))


def _event_f1(
    reference: Reference,
    names: Sequence[str],
    detected: Mapping[str, Sequence[SoundEvent]],
    frames: Frames | None,
) -> float | None:
    """The F1 of events with right onsets and offsets, as in training."""
    if frames is None or not has_sed_eval():
        return None
    found, annotated = (
        [
            list(
                merge_overlaps(
                    (reference.classes.index(e.label), e.onset, e.offset)
                    for e in of_all[name]
                )
            )
            for name in names
        ]
        for of_all in (detected, reference.events)
    )
    return event_f1(
        found,
        annotated,
        reference.classes,
        collar=frames.collar,
        offset_share=frames.offset_share,
    )


def _seconds(path: pathlib.Path) -> float:
    """The length of a recording; infinite if it cannot be read, which is told later."""
    try:
        with AudioFile(path) as file:
            return file.seconds
    except InputError:
        return np.inf
