"""Names the sounds in recordings with a trained probe.

unmute predict --workdir RUN FILE_OR_FOLDER ...
unmute predict --workdir RUN FOLDER --output OUT --thresholds validation
unmute predict --workdir RUN FOLDER --output OUT --against ANNOTATIONS

The command prints the classes with the highest scores of every recording. Recordings
may be hours long: they are read in overlapping windows of the length that the probe was
trained on. With --output, OUT will contain

    predictions.csv      every event: file, start, end, class, score, frequencies
    audacity/ raven/     the events as label tracks and as selection tables
    plots/               with --plot: the evidence for each class in its best windows
    windows/             the scores of every window, from which the rest is made
    thresholds.csv       the score from which on a class counts as detected; with
                         --thresholds=validation its precision and recall there
    against.csv          with --against: precision, recall and F1 of every class
    calibration.png      with --against: scores beside the share that is annotated
    calibration.csv      with --against: the numbers of that picture

--against takes what `annotations:` data sets take: a folder with selection tables of
Raven or label tracks of Audacity, or a csv with file, onset, offset and label. A window
has a class if it contains enough of an event, as in training. Recordings without
annotations are not compared. A probe that was trained on time steps detects events in
time steps instead of windows.

The same command continues a run that was stopped, and other thresholds reuse the scores
of the windows. Files that cannot be read are named, and the exit code is then 1.
"""

from __future__ import annotations

import math
import pathlib
import sys

import numpy as np
from absl import flags

from unmute_jax.cli import program
from unmute_jax.cli.finished_run import open_its_encoder, open_trained
from unmute_jax.config import Experiment
from unmute_jax.console import print_table, progress, say
from unmute_jax.errors import InputError, one_line
from unmute_jax.inference.explain import check_prototypical
from unmute_jax.inference.recordings import against, detections
from unmute_jax.inference.recordings.partial_results import pin_settings
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.seen import describe_training, notes_on_seen
from unmute_jax.inference.recordings.stream import count_windows, score_recordings
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

OUTPUT = flags.DEFINE_string("output", None, "The folder to write to.")
OVERLAP = flags.DEFINE_float(
    "overlap",
    0.5,
    "The share of a window that overlaps with the next one, from 0 to below 1.",
)
THRESHOLD = flags.DEFINE_float(
    "threshold", 0.5, "The score from which on a class counts as detected."
)
THRESHOLDS = flags.DEFINE_string(
    "thresholds",
    None,
    "Thresholds per class: a CSV file with the columns class and threshold, or "
    "'validation' for those with the best F score on the run's validation clips.",
)
BETA = flags.DEFINE_float(
    "beta",
    1.0,
    "The weight of recall against precision in --thresholds=validation: above 1 to "
    "miss less, below 1 to be wrong less often.",
    lower_bound=0.01,
)
LEAST_POSITIVES = flags.DEFINE_integer(
    "least_positives",
    5,
    "With --thresholds=validation: classes with fewer positive validation clips have "
    "--threshold.",
    lower_bound=1,
)
LOWEST_THRESHOLD = flags.DEFINE_float(
    "lowest_threshold", 0.05, "The lowest threshold that --thresholds=validation gives."
)
NO_MERGE = flags.DEFINE_bool(
    "no-merge",
    False,
    "List every window with a detection, instead of joining successive ones.",
)
LONGEST = flags.DEFINE_float(
    "longest",
    None,
    "The length in seconds of the longest event; longer ones are divided.",
)
AGAINST = flags.DEFINE_string(
    "against", None, "A folder or table of annotations to compare with."
)
LABEL_COLUMN = flags.DEFINE_string(
    "label_column",
    None,
    "The column with the labels in the annotations. By default that of the run, or the "
    "first usual name, such as Annotation or Species, that is filled in.",
)
SPECIES_LIST = flags.DEFINE_string(
    "species_list",
    None,
    "A CSV file with the columns name and class, which maps the labels of the "
    "annotations to classes. By default that of the run, if there is one.",
)
TOP = flags.DEFINE_integer("top", 5, "The number of classes to print per recording.")
PLOT = flags.DEFINE_bool("plot", False, "Draw the evidence for the detected classes.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "The number of windows per step of the encoder."
)


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

    windows = folder / "windows" if folder else None
    total, done = count_windows(recordings, windowing, windows)
    summaries, errors = [], []
    with progress("listening", total, unit="windows", done=done) as advance:
        for results in score_recordings(
            recordings, predictor, windowing, windows, advance
        ):
            if results.error is None:
                summaries.append(
                    detections.summarise(
                        results,
                        predictor,
                        thresholds,
                        merge=not NO_MERGE.value,
                        longest=longest,
                    )
                )
            else:
                errors.append(results.error)

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
    if LONGEST.value is None:
        return math.inf
    unit, least = "window", windowing.seconds(windowing.samples)
    if trained.is_framewise:
        unit, least = "time step", trained.geometry.seconds_per_step
    if LONGEST.value < least:
        raise InputError(
            f"--longest={LONGEST.value:g}: an event is at least as long as a {unit}, "
            f"{least:g} s"
        )
    return LONGEST.value


def _line(summary: detections.Detections) -> str:
    """`name (12.5 s): dog 0.93 at 0-10 s, ...`."""
    parts = [
        f"{one_line(name, 200)} {score:.2f} at {window.start:g}-{window.end:g} s"
        for name, score, window in summary.best[: max(1, TOP.value)]
    ]
    recording = one_line(summary.recording.name)
    return f"{recording} ({summary.seconds:.1f} s): {', '.join(parts)}"


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__) as arguments:
        main(arguments)
