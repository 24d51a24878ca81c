"""FSD50K: sounds of Freesound under 200 classes of AudioSet's ontology.

E. Fonseca et al., "FSD50K: An Open Dataset of Human-Labeled Sound Events", IEEE/ACM
TASLP 30, 2022; Zenodo record 4060432. `FSD50K.ground_truth/` holds `dev.csv` (`fname,
labels, mids, split`, the labels a quoted list), `eval.csv` (no split) and
`vocabulary.csv` (no header); a clip is `FSD50K.dev_audio/FNAME.wav`. The copy on
Hugging Face has the same tables in `labels/` and the clips in `clips/dev` and
`clips/eval`; copies in tables of Hugging Face are read, too.
"""

from __future__ import annotations

import pathlib

from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_parts
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.datasets.table_copies import fsd50k_copy
from unmute_jax.datasets.tables import Line, read_table
from unmute_jax.errors import InputError

INFOS = (
    DatasetInfo(
        name="fsd50k",
        title="FSD50K",
        task="multi-label",
        classes=200,
        splits={"train": 36_796, "validation": 4_170, "test": 10_231},
        layout="verified",
        checked="the official ground truth",
        files="a folder with FSD50K.ground_truth, FSD50K.dev_audio and "
        "FSD50K.eval_audio, as folders or whole zips, or tables of Hugging Face "
        "(hf:OWNER/NAME, or their folder)",
        licence="CC0, CC BY, CC BY-NC or CC Sampling+, clip by clip",
        citation="E. Fonseca et al., FSD50K: An Open Dataset of Human-Labeled Sound "
        "Events, IEEE/ACM TASLP 30, 2022",
        home="https://zenodo.org/records/4060432",
        steps=(
            "get all files FSD50K.dev_audio.*, FSD50K.eval_audio.* and "
            "FSD50K.ground_truth.zip of that record (24 GB)",
            "zip -s 0 FSD50K.dev_audio.zip --out whole.dev_audio.zip",
            "zip -s 0 FSD50K.eval_audio.zip --out whole.eval_audio.zip",
        ),
        max_seconds=10.0,
        notes=(
            "many clips of FSDKaggle2018 and FSDKaggle2019 are in its dev set, so what "
            "is trained on the one must not be tested on the other",
        ),
    ),
)

# Clips of wrong length, which HEAR leaves out, too.
BROKEN = frozenset(
    "83299 83298 121426 121351 121472 121471 124796 397150 124797 124800 124834 "
    "124858".split()
)

# Folders of the tables, of the dev clips and of the eval clips, in both layouts.
_FOLDERS = (
    ("FSD50K.ground_truth", "FSD50K.dev_audio", "FSD50K.eval_audio"),
    ("labels", "clips/dev", "clips/eval"),
)


class Fsd50k(FileBuilder):
    """Builder of all clips: dev is train and validation, eval is test."""

    dataset_info = INFOS[0]

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        for tables, dev, evaluation in _FOLDERS:
            parts = {
                f"{tables}/dev.csv": ("*ground_truth*.zip",),
                f"{dev}/*.wav": ("*dev_audio*.zip",),
                f"{evaluation}/*.wav": ("*eval_audio*.zip",),
            }
            try:
                files = find_parts(place, parts)
            except InputError as error:
                raise InputError(f"{error}{_how_to_join(place)}") from None
            if files:
                return files
        return fsd50k_copy(place)

    def layout(self) -> Splits:
        """Reads the tables, which name the clips of both folders."""
        tables, dev, evaluation = next(
            names
            for names in _FOLDERS
            if not self.files.missing([f"{names[0]}/dev.csv"])
        )
        vocabulary = read_table(
            self.files,
            f"{tables}/vocabulary.csv",
            ("index", "label", "mid"),
            has_header=False,
        )
        self.classes = tuple(line["label"] for line in vocabulary)
        splits: Splits = {"train": [], "validation": [], "test": []}
        for line in read_table(
            self.files, f"{tables}/dev.csv", ("fname", "labels", "split")
        ):
            if line["fname"] in BROKEN:
                self.drop("clips of dev have a wrong length (the list of HEAR)")
            else:
                splits[_split(line)].append(self._entry(line, dev))
        for line in read_table(self.files, f"{tables}/eval.csv", ("fname", "labels")):
            splits["test"].append(self._entry(line, evaluation))
        return splits

    def _entry(self, line: Line, folder: str) -> FileEntry:
        return FileEntry(
            id=line["fname"],
            file=f"{folder}/{line['fname']}.wav",
            labels=self.labels_of(line.names("labels"), line.where),
        )


def _how_to_join(place: pathlib.Path) -> str:
    """Returns the commands that join the pieces of split zips, if there are any."""
    pieces = sorted(place.glob("FSD50K.*_audio.z01"))
    commands = (
        f"zip -s 0 {path.stem}.zip --out whole.{path.stem.partition('.')[2]}.zip"
        for path in pieces
    )
    return f"; join the pieces: {' && '.join(commands)}" if pieces else ""


def _split(line: Line) -> str:
    if line["split"] not in ("train", "val"):
        raise InputError(f"{line.where}: split is {line['split']!r}, not train or val")
    return "validation" if line["split"] == "val" else "train"
