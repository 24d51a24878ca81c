"""Scores recordings as the options of `unmute predict` say, and writes the results."""

from __future__ import annotations

import math
import pathlib
import sys

import numpy as np

from unmute_jax.cli.finished_run import open_its_encoder, open_trained
from unmute_jax.cli.predict_options import (
    AGAINST,
    BATCH_SIZE,
    BETA,
    LABEL_COLUMN,
    LEAST_POSITIVES,
    LONGEST,
    LOWEST_THRESHOLD,
    NO_MERGE,
    OUTPUT,
    OVERLAP,
    PLOT,
    SPECIES_LIST,
    THRESHOLD,
    THRESHOLDS,
    TOP,
)
from unmute_jax.config import Experiment
from unmute_jax.console import print_table, say
from unmute_jax.errors import InputError, one_line
from unmute_jax.inference.explain import check_prototypical
from unmute_jax.inference.recordings import against, detections
from unmute_jax.inference.recordings.partial_results import pin_settings
from unmute_jax.inference.recordings.predict import check_longest, detect
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.seen import describe_training, notes_on_seen
from unmute_jax.inference.recordings.thresholds import (
    Chosen,
    check_threshold,
    notes_on,
    read_thresholds,
    validation_thresholds,
    write_thresholds,
)
from unmute_jax.inference.recordings.windows import (
    RecordingFile,
    Windowing,
    find_recordings,
)
from unmute_jax.results.trained import TrainedProbe


def main(places: list[str]) -> None:
    """Scores the recordings, prints the best classes and writes the files."""
    if not places:
        raise InputError(
            "no recordings are given: write --workdir RUN FILE_OR_FOLDER ..."
        )
    folder = pathlib.Path(OUTPUT.value).expanduser() if OUTPUT.value else None
    if PLOT.value and folder is None:
        raise InputError("--plot needs a folder for the pictures: --output FOLDER")
    annotations = ".txt" if AGAINST.value else ""
    recordings = find_recordings(places, expected=annotations)
    trained = open_trained()
    if PLOT.value:
        check_prototypical(trained.probe)
    encoder = open_its_encoder(trained)
    predictor = Predictor(trained, encoder, BATCH_SIZE.value)
    windowing = predictor.windowing(OVERLAP.value)
    longest = _longest(trained, windowing)
    reference = _reference(recordings, trained, windowing)
    thresholds, chosen = _thresholds(predictor)
    if folder is not None:
        pin_settings(folder, predictor.identity(windowing))
        write_thresholds(folder, trained.classes, thresholds, chosen)

    summaries, errors = [], []
    for result in detect(
        recordings,
        predictor,
        windowing,
        thresholds,
        merge=not NO_MERGE.value,
        longest=longest,
        folder=folder / "windows" if folder else None,
    ):
        (errors if isinstance(result, InputError) else summaries).append(result)

    say(describe_training(trained))
    for summary in summaries:
        say(_line(summary))
    for note in notes_on_seen(trained, recordings):
        say(f"note: {note}")
    for summary in summaries:
        for note in detections.notes_on_sound(summary, windowing.highest_hz):
            say(f"note: {note}")
    if chosen is not None:
        least = LEAST_POSITIVES.value
        for note in notes_on(chosen, trained.classes, THRESHOLD.value, least):
            say(f"note: {note}")
    if folder is not None:
        for note in detections.write_tables(folder, summaries):
            say(f"note: {note}")
        if PLOT.value:
            for summary in summaries:
                detections.write_plots(
                    folder, summary, predictor, windowing, thresholds
                )
    for error in errors:
        say(f"error: {error}", error=True)
    if reference is not None:
        _compare(trained, reference, thresholds, summaries, folder)
    if folder is not None:
        say(f"all files are in {folder}/")
    if errors:
        left_out = f"{len(errors)} of {len(recordings)} recordings were left out"
        print(left_out, file=sys.stderr)
        sys.exit(1)


def _reference(
    recordings: list[RecordingFile], trained: TrainedProbe, windowing: Windowing
) -> against.Reference | None:
    """The annotations to compare with, by the options of the run and of the command."""
    if AGAINST.value is None:
        return None
    options = dict(trained.settings.get("dataset_options", {}))
    for flag in (LABEL_COLUMN, SPECIES_LIST):
        if flag.value is not None:
            options[flag.name] = flag.value
    return against.read_reference(
        pathlib.Path(AGAINST.value).expanduser().absolute(),
        recordings,
        trained.classes,
        windowing.seconds(windowing.samples),
        options,
    )


def _compare(
    trained: TrainedProbe,
    reference: against.Reference,
    thresholds: np.ndarray,
    summaries: list[detections.Detections],
    folder: pathlib.Path | None,
) -> None:
    """Prints how the detections compare with annotations, and writes the files."""
    frames = Experiment.from_dict(trained.settings).frames
    evaluation = against.compare(
        reference,
        thresholds,
        {one.recording.name: one.decided for one in summaries},
        {one.recording.name: one.events for one in summaries},
        frames if trained.is_framewise else None,
    )
    unit = "time steps" if trained.is_framewise else "windows"
    say(describe_training(trained))
    print_table(against.as_table(evaluation, unit))
    if evaluation.event_f1 is not None:
        print(
            f"event-based F1 (onsets within {frames.collar:g} s): "
            f"{100 * evaluation.event_f1:.1f}"
        )
    for note in reference.notes:
        say(f"note: {note}")
    if folder is not None:
        title = f"{trained.name} on {trained.encoder_description}"
        against.write_evaluation(folder, evaluation, title)


def _thresholds(predictor: Predictor) -> tuple[np.ndarray, Chosen | None]:
    """The thresholds that the options ask for, one per class."""
    default = check_threshold(THRESHOLD.value, "--threshold")
    lowest = check_threshold(LOWEST_THRESHOLD.value, "--lowest_threshold")
    classes = predictor.trained.classes
    if THRESHOLDS.value == "validation":
        chosen = validation_thresholds(
            predictor.trained,
            predictor.encoder,
            default,
            beta=BETA.value,
            least_positives=LEAST_POSITIVES.value,
            lowest=lowest,
        )
        return chosen.thresholds, chosen
    if THRESHOLDS.value:
        return read_thresholds(THRESHOLDS.value, classes, default), None
    return np.full(len(classes), default, np.float32), None


def _longest(trained: TrainedProbe, windowing: Windowing) -> float:
    """The length of the longest event, at least that of a window or a time step."""
    longest = math.inf if LONGEST.value is None else LONGEST.value
    check_longest(longest, trained, windowing, "--longest")
    return longest


def _line(summary: detections.Detections) -> str:
    """`name (12.5 s): dog 0.93 at 0-10 s, ...`."""
    parts = [
        f"{one_line(name, 200)} {score:.2f} at {window.start:g}-{window.end:g} s"
        for name, score, window in summary.best[: max(1, TOP.value)]
    ]
    recording = one_line(summary.recording.name)
    return f"{recording} ({summary.seconds:.1f} s): {', '.join(parts)}"
