"""AudioSet-20k: the balanced training segments of AudioSet, tested on `eval`.

J. F. Gemmeke et al., "Audio Set: An Ontology and Human-Labeled Dataset for Audio
Events", ICASSP 2017. Google publishes labels alone; recordings are from YouTube and
every copy lacks others.

`as20k` reads the copy on Hugging Face, `agkphysics/AudioSet`: the parquet files of
`data/bal_train` and `data/eval` with `video_id`, `audio` (FLAC) and `labels`
(identifiers). Of a copy of 18,685 and 17,142 rows, three are broken and left out, as in
Bird-MAE.

`as20k/segments` reads Google's `balanced_train_segments.csv` and `eval_segments.csv`
and audio files that are named by their video.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.datasets import audioset_labels
from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.file_builder import Entry, FileBuilder, Splits
from unmute_jax.datasets.files import Files, Folder
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, obtain
from unmute_jax.datasets.parquet import AudioRows
from unmute_jax.datasets.tables import read_table

_ROWS = DatasetInfo(
    name="as20k",
    title="AudioSet balanced (agkphysics/AudioSet)",
    task="multi-label",
    classes=527,
    splits={"train": 18_683, "validation": 0, "test": 17_141},
    protocol="eval is the test; a fifth of balanced train validates",
    layout="verified",
    checked="the card of the data set on Hugging Face",
    files="a folder with data/bal_train/*.parquet and data/eval/*.parquet",
    licence="labels CC BY 4.0; the audio belongs to those who uploaded it",
    citation="J. F. Gemmeke et al., Audio Set: An Ontology and Human-Labeled Dataset "
    "for Audio Events, ICASSP 2017",
    home="https://huggingface.co/datasets/agkphysics/AudioSet",
    steps=(
        "hf download agkphysics/AudioSet --repo-type dataset --include "
        "'data/bal_train/*' 'data/eval/*' --local-dir AudioSet (50 GB)",
    ),
    # Uploads have many rates; this one serves encoders of 16 and of 32 kHz.
    sample_rate=32_000,
    longest=10.0,
)
_SEGMENTS = dataclasses.replace(
    _ROWS,
    name="as20k/segments",
    title="AudioSet balanced (own download)",
    splits={"train": 22_160, "validation": 0, "test": 20_371},
    layout="assumed",
    checked="audio files whose names begin with the id of the video, after a Y or not",
    files="a folder with balanced_train_segments.csv, eval_segments.csv and, anywhere "
    "below, audio files such as --PJHxphWEs.wav or Y--PJHxphWEs_30.000.flac",
    home="https://research.google.com/audioset/download.html",
    steps=("get the two csv files of that page, and the audio of their segments",),
)
FACTS = (_ROWS, _SEGMENTS)

_FOLDERS = {"train": "data/bal_train", "test": "data/eval"}
_TABLES = {"train": "balanced_train_segments.csv", "test": "eval_segments.csv"}
# Of the copy whose splits have this many rows.
BROKEN_ROWS = {"train": (18_685, (15_759, 17_532)), "test": (17_142, (6_182,))}
_VIDEO = re.compile(r"Y?(.{11})(?:_.*)?")


class AudioSet(FileBuilder):
    """The rows of the copy on Hugging Face."""

    facts = _ROWS
    classes = tuple(audioset_labels.classes().values())

    def __init__(self, rows: AudioRows, *, on_bad: OnBad):
        self._rows = rows
        super().__init__(rows, on_bad=on_bad)

    def layout(self) -> Splits:
        """A clip for each row."""
        splits: Splits = {}
        for split, folder in _FOLDERS.items():
            rows = list(self._rows.rows(folder, ("video_id", "labels")))
            size, broken = BROKEN_ROWS[split]
            splits[split] = []
            for number, row in enumerate(rows):
                if len(rows) == size and number in broken:
                    self.drop("rows of that copy are broken (the list of Bird-MAE)")
                    continue
                labels = _labels(self, row["labels"], self.files.where(row["name"]))
                splits[split].append(
                    Entry(id=row["video_id"], file=row["name"], labels=labels)
                )
        return splits


class AudioSetSegments(FileBuilder):
    """The segments of Google's tables whose audio somebody has."""

    facts = _SEGMENTS
    classes = AudioSet.classes

    def layout(self) -> Splits:
        """A clip for each line whose video is there."""
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        sounds = (path for path in paths if path.suffix.lower() in SUFFIXES)
        matches = ((_VIDEO.fullmatch(path.stem), str(path)) for path in sounds)
        place = {match[1]: name for match, name in matches if match}
        splits: Splits = {}
        for split, table in _TABLES.items():
            splits[split] = []
            for line in read_table(
                self.files, table, ("video", "start", "end", "labels"), has_header=False
            ):
                if line["video"] not in place:
                    self.drop(f"segments of {split} that are listed are not there")
                    continue
                labels = _labels(self, line.names("labels"), line.where)
                splits[split].append(
                    Entry(id=line["video"], file=place[line["video"]], labels=labels)
                )
        return splits


def as20k(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> FileBuilder:
    """The copy on Hugging Face."""
    return AudioSet(obtain(_ROWS, data_dir, _find_rows), on_bad=on_bad)


def segments(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> FileBuilder:
    """Google's tables and audio of one's own."""
    return AudioSetSegments(obtain(_SEGMENTS, data_dir, _find_segments), on_bad=on_bad)


def _find_rows(place: pathlib.Path) -> AudioRows | None:
    found = find_files(place, "data/bal_train/*.parquet", ())
    return AudioRows(found) if isinstance(found, Folder) else None


def _find_segments(place: pathlib.Path) -> Files | None:
    return find_files(place, _TABLES["train"])


def _labels(
    builder: FileBuilder, identifiers: Iterable[str], where: str
) -> tuple[int, ...]:
    names = audioset_labels.classes()
    return builder.labels_of((names.get(mid, mid) for mid in identifiers), where)
