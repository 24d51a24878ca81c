"""What is known about copies of published data sets: gaps, overlaps and traps."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Part of the name of a copy, columns that only such copies have, and the note.
_KNOWN: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "(^|[^a-z])esc_?(50|10)(?![0-9])",
        frozenset(("fold", "src_file", "take", "esc10")),
        "ESC-50: random splits share recordings between training and test and score "
        "too high; esc50 with data_dir reads the published folds, and so do "
        "group_column=fold with folds=groups",
    ),
    (
        "fsd_?50k",
        frozenset(("fname", "mids")),
        "FSD50K: many clips of FSDKaggle2018 and FSDKaggle2019 are in its dev set, so "
        "neither may test what was trained on the other; some copies are cut or lack "
        "clips of the 51,197",
    ),
    (
        "fsd_?kaggle",
        frozenset(("manually_verified", "freesound_id")),
        "FSDKaggle: many of its clips are in the dev set of FSD50K, so neither may "
        "test what was trained on the other",
    ),
    (
        "audio_?set",
        frozenset(("video_id", "human_labels")),
        "AudioSet: every copy lacks videos that were taken down, and other ones, so "
        "scores of different copies differ; as20k with data_dir leaves out the broken "
        "rows of agkphysics/AudioSet",
    ),
    (
        "speech_?commands",
        frozenset(("is_unknown", "speaker_id", "utterance_id")),
        "Speech Commands: this layout has whole background recordings as _silence_, "
        "and its test split is the archive of the twelve-class task, not the 11,005 "
        "test clips of the 35 words; v0.01 has 30 words and shares clips with v0.02; "
        "sc2/twelve with data_dir reads the task as published",
    ),
    (
        "urban_?sound_?8k",
        frozenset(("slice_file_name", "fsID", "classID")),
        "UrbanSound8K: random splits share recordings between training and test and "
        "score too high; group_column=fold with folds=groups uses the published folds",
    ),
    (
        "bird_?set",
        frozenset(("ebird_code", "ebird_code_multilabel")),
        "BirdSet: training clips are focal recordings of any length with one weak "
        "label, test_5s has windows of soundscapes; XCM and XCL contain the focal "
        "recordings of the smaller subsets; hsn and the others with data_dir follow "
        "the published protocol",
    ),
)


def notes_on_copy(name: str, columns: Sequence[str]) -> list[str]:
    """Returns what is known about a copy of a published data set.

    Args:
        name: Name of the copy, such as "ashraq/esc50".
        columns: Names of its columns.
    """
    plain = re.sub(r"[\s.-]+", "_", name).lower()
    return [
        note
        for pattern, mark, note in _KNOWN
        if re.search(pattern, plain) or mark <= set(columns)
    ]
