"""Free Spoken Digit Dataset: ten digits, spoken by six people.

Published at https://github.com/Jakobovski/free-spoken-digit-dataset. `recordings/`
holds files named `DIGIT_SPEAKER_INDEX.wav`; its read-me declares the indices 0 to 4 the
test split. All splits have the same speakers.
"""

from __future__ import annotations

import pathlib
import re

from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.info import DatasetInfo, Download

INFOS = (
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
    ),
)

_NAME = re.compile(r"(\d)_(\w+)_(\d+)\.(?:wav|flac)")
# Folders of the repository and of copies in FLAC, with what only they hold.
_FOLDERS = {"recordings": "recordings/*.wav", "audio": "audio/*_*_*.flac"}


class Fsdd(FileBuilder):
    """Builder of the ten digits."""

    dataset_info = INFOS[0]
    classes = tuple("zero one two three four five six seven eight nine".split())

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        copies = (find_files(place, marker) for marker in _FOLDERS.values())
        return next((files for files in copies if files), None)

    def layout(self) -> Splits:
        """Reads digit and split from the name of each file."""
        splits: Splits = {"train": [], "validation": [], "test": []}
        for file in (file for folder in _FOLDERS for file in self.files.names(folder)):
            path = pathlib.PurePosixPath(file)
            match = _NAME.fullmatch(path.name)
            if not match:
                self.drop("files are not named DIGIT_SPEAKER_INDEX")
                continue
            index = int(match[3])
            split = "test" if index < 5 else "validation" if index < 10 else "train"
            entry = FileEntry(id=path.stem, file=file, labels=(int(match[1]),))
            splits[split].append(entry)
        return splits
