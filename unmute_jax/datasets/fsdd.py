"""Free Spoken Digit Dataset: ten digits, spoken by six people.

https://github.com/Jakobovski/free-spoken-digit-dataset. `recordings/` holds files named
`DIGIT_SPEAKER_INDEX.wav`; its read-me makes the indices 0 to 4 the test split. The same
speakers are in all splits.
"""

from __future__ import annotations

import os
import pathlib
import re

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.file_builder import Entry, FileBuilder, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download, obtain

FACTS = (
    DatasetInfo(
        name="fsdd",
        title="Free Spoken Digit Dataset",
        task="single-label",
        classes=10,
        splits={"train": 2400, "validation": 300, "test": 300},
        protocol="official test (indices 0-4), 5-9 validate",
        layout="verified",
        checked="the repository",
        files="the repository or its zip, with recordings/0_jackson_0.wav and so on",
        licence="CC BY-SA 4.0",
        citation="Z. Jackson, Free Spoken Digit Dataset, 2018",
        home="https://github.com/Jakobovski/free-spoken-digit-dataset",
        downloads=(
            Download(
                url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
                "refs/heads/master.zip",
                name="free-spoken-digit-dataset-master.zip",
                megabytes=20,
            ),
        ),
        sample_rate=8000,
    ),
)

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.(?:wav|flac)")
# The repository's folder, and that of copies as FLAC.
_FOLDERS = {"recordings": "recordings/*.wav", "audio": "audio/*_*_*.flac"}


class Fsdd(FileBuilder):
    """The recordings of a copy of the repository."""

    facts = FACTS[0]
    classes = tuple("zero one two three four five six seven eight nine".split())

    def layout(self) -> Splits:
        """The name of a file says all."""
        splits: Splits = {"train": [], "validation": [], "test": []}
        for file in (file for folder in _FOLDERS for file in self.files.names(folder)):
            path = pathlib.PurePosixPath(file)
            match = _NAME.fullmatch(path.name)
            if not match:
                self.drop("files are not named DIGIT_SPEAKER_INDEX")
                continue
            index = int(match[3])
            split = "test" if index < 5 else "validation" if index < 10 else "train"
            entry = Entry(id=path.stem, file=file, labels=(int(match[1]),))
            splits[split].append(entry)
        return splits


def fsdd(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> FileBuilder:
    """The ten digits."""
    return Fsdd(obtain(FACTS[0], data_dir, _find), on_bad=on_bad)


def _find(place: pathlib.Path) -> Files | None:
    found = (find_files(place, marker) for marker in _FOLDERS.values())
    return next((files for files in found if files), None)
