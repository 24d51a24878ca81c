"""AudioSet-20k: the balanced training segments of AudioSet, tested on `eval`.

J. F. Gemmeke et al., "Audio Set: An Ontology and Human-Labeled Dataset for Audio
Events", ICASSP 2017. Google publishes only labels; the recordings are from YouTube, and
every copy lacks some of them.

`as20k` reads the copy on Hugging Face, `agkphysics/AudioSet`: the parquet files of
`data/bal_train` and `data/eval` with `video_id`, `audio` (FLAC) and `labels`
(identifiers). Three rows of the copy with 18,685 and 17,142 rows are broken and left
out, as in Bird-MAE.

`as20k/segments` reads Google's `balanced_train_segments.csv` and `eval_segments.csv`,
and audio files that are named by their video.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing
from collections.abc import Iterable

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.datasets import audioset_labels
from unmute_jax.datasets.audio_rows import AudioRows
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.datasets.presented import TableCopy, table_copy
from unmute_jax.datasets.tables import read_table
from unmute_jax.errors import InputError

_ROWS = DatasetInfo(
    name="as20k",
    title="AudioSet balanced (agkphysics/AudioSet)",
    task="multi-label",
    classes=527,
    splits={"train": 18_683, "validation": 0, "test": 17_141},
    protocol="eval is the test; a fifth of balanced train validates",
    layout="verified",
    checked="the card of the data set on Hugging Face",
    files="a folder with data/bal_train/*.parquet and data/eval/*.parquet, or "
    "hf:agkphysics/AudioSet:balanced",
    licence="labels CC BY 4.0; the audio belongs to those who uploaded it",
    citation="J. F. Gemmeke et al., Audio Set: An Ontology and Human-Labeled Dataset "
    "for Audio Events, ICASSP 2017",
    home="https://huggingface.co/datasets/agkphysics/AudioSet",
    steps=(
        "hf download agkphysics/AudioSet --repo-type dataset --include "
        "'data/bal_train/*' 'data/eval/*' --local-dir AudioSet (50 GB)",
    ),
    max_seconds=10.0,
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
INFOS = (_ROWS, _SEGMENTS)

# Names of folders, and of splits in the configuration of the copy.
_SPLITS = {"train": ("bal_train", "train"), "test": ("eval", "test")}
_TABLES = {"train": "balanced_train_segments.csv", "test": "eval_segments.csv"}
# The broken rows of a copy whose splits have this many rows.
BROKEN_ROWS = {"train": (18_685, (15_759, 17_532)), "test": (17_142, (6_182,))}
_VIDEO = re.compile(r"Y?(.{11})(?:_.*)?")


class AudioSet(FileBuilder):
    """Builder of the copy on Hugging Face."""

    dataset_info = _ROWS
    classes = tuple(audioset_labels.classes().values())

    def find(self, place: pathlib.Path) -> AudioRows | None:
        """See `FileBuilder`."""
        files = find_files(place, "data/bal_train/*.parquet", ())
        root = pathlib.Path(files.where("")) if files else place
        self._copy = table_copy(root, "AudioSet balanced", ("balanced",))
        return self._copy.files if self._copy else None

    def layout(self) -> Splits:
        """Reads the tables; each row is a clip."""
        copy = typing.cast(TableCopy, self._copy)
        labels = copy.column("labels", "human_labels")
        splits: Splits = {}
        for split, names in _SPLITS.items():
            rows = copy.rows(copy.split(*names), (copy.column("video_id"), labels))
            size, broken = BROKEN_ROWS[split]
            splits[split] = []
            for number, row in enumerate(rows):
                if len(rows) == size and number in broken:
                    self.drop("rows of that copy are broken (the list of Bird-MAE)")
                    continue
                where = self.files.where(row["name"])
                if not row[labels]:
                    raise InputError(f"{where}: has no {labels}")
                splits[split].append(
                    FileEntry(
                        id=row["video_id"],
                        file=row["name"],
                        labels=_labels(self, row[labels], where),
                    )
                )
        return splits


class AudioSetSegments(FileBuilder):
    """Builder of Google's tables and the user's own audio of their segments."""

    dataset_info = _SEGMENTS
    classes = AudioSet.classes

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        return find_files(place, _TABLES["train"])

    def layout(self) -> Splits:
        """Reads the tables; each line whose video is there is a clip."""
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        sounds = (path for path in paths if path.suffix.lower() in SUFFIXES)
        matches = ((_VIDEO.fullmatch(path.stem), str(path)) for path in sounds)
        file_of = {match[1]: name for match, name in matches if match}
        columns = ("video", "start", "end", "labels")
        splits: Splits = {}
        for split, table in _TABLES.items():
            splits[split] = []
            for line in read_table(
                self.files, table, columns, has_header=False, has_comments=True
            ):
                if line["video"] not in file_of:
                    self.drop(f"listed segments of {split} are not there")
                    continue
                labels = _labels(self, line.names("labels"), line.where)
                splits[split].append(
                    FileEntry(
                        id=line["video"], file=file_of[line["video"]], labels=labels
                    )
                )
        return splits


def _labels(
    builder: FileBuilder, identifiers: Iterable[str], where: str
) -> tuple[int, ...]:
    names = audioset_labels.classes()
    return builder.labels_of((names.get(mid, mid) for mid in identifiers), where)
