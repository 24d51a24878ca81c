"""The options of `unmute predict`, besides those that choose the trained probe."""

from __future__ import annotations

from absl import flags

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
LIKE = flags.DEFINE_string(
    "like",
    None,
    "A recording. The clips of the run's data set that sound most like it are listed, "
    "and nothing is predicted.",
)
TOP = flags.DEFINE_integer(
    "top",
    5,
    "The number of classes to print per recording, or of clips to list with --like.",
)
PLOT = flags.DEFINE_bool("plot", False, "Draw the evidence for the detected classes.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "The number of windows per step of the encoder."
)
