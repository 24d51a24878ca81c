"""Names the sounds in recordings with a trained probe.

unmute predict --workdir RUN FILE_OR_FOLDER ...
unmute predict --workdir RUN FOLDER --output OUT --thresholds validation
unmute predict --workdir RUN FOLDER --output OUT --against ANNOTATIONS
unmute predict --workdir RUN --like CLIP

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
    similar.csv          with --like: the clips that sound like CLIP

--against takes what `annotations:` data sets take: a folder with selection tables of
Raven or label tracks of Audacity, or a csv with file, onset, offset and label. A window
has a class if it contains enough of an event, as in training. Recordings without
annotations are not compared. A probe that was trained on time steps detects events in
time steps instead of windows.

--like lists the clips of the run's data set that sound most like a recording, by the
cosine between means over their tokens, which training has stored. Of a long recording,
each clip is compared with all windows, and the time of the most similar one is given.

The same command continues a run that was stopped, and other thresholds reuse the scores
of the windows. Files that cannot be read are named, and the exit code is then 1.
"""

from __future__ import annotations

# These two define options.
from unmute_jax.cli import finished_run as finished_run
from unmute_jax.cli import predict_options as predict_options
from unmute_jax.cli import program

USAGE = "--workdir=RUN FILE_OR_FOLDER ... [--OPTION=VALUE ...]"


def run() -> None:
    """Runs the command with the arguments of this process."""
    with program.command(__doc__, usage=USAGE) as arguments:
        with program.importing():
            from unmute_jax.cli import prediction, similar

        main = similar.main if predict_options.LIKE.value else prediction.main
        main(arguments)
