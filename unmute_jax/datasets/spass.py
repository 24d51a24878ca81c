"""SPASS: synthetic polyphonic soundscapes of five urban scenes.

Each scene has 5,000 files such as `Market audio files/market00001.wav`, and a table
such as `1_MatrixLabelsMarket.csv` with a row per sound source, of which
`audio_filename` and `class` are read. Some clips of the street scene are not 10 s long.

There is no official split. Here the clips of each scene are split in the order of their
names: the first 70 % are for training (17,500 clips of all scenes, as many as in the
paper), the next 5 % for validation and the last 25 % for the test. SSLAM tests on the
same 25 % and trains on the other 75 %, as `config.refit` does.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_parts
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.datasets.tables import read_table

CLASSES = tuple(
    "air_conditioner airborne alarm bells bird braking bus_idling bus_moving "
    "car_idling car_moving crowd cutting dog drilling explosives fireworks horn impact "
    "motorcycle_idling motorcycle_moving music rain river shouting siren steps talk "
    "truck_idling truck_moving Vwater water waves wind".split()
)
# The scenes in the order of their tables, with the classes that do not occur in them.
ABSENT = {
    "market": "bells braking cutting drilling explosives fireworks impact river Vwater "
    "water waves",
    "park": "air_conditioner alarm braking cutting drilling explosives impact river "
    "Vwater waves",
    "square": "air_conditioner explosives fireworks river Vwater waves",
    "street": "bells fireworks river Vwater water waves",
    "waterfront": "air_conditioner bells explosives water",
}
TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.05

_POOLED = DatasetInfo(
    name="spass",
    title="SPASS, five scenes",
    task="multi-label",
    classes=len(CLASSES),
    splits={"train": 17_500, "validation": 1_250, "test": 6_250},
    protocol="first 70 %, next 5 % and last 25 % of every scene",
    layout="verified",
    checked="SSLAM's code and manifests; licence and archive names not seen",
    files="a folder with 1_MatrixLabelsMarket.csv and so on and the five folders "
    "'Market audio files' and so on, as folders or zips",
    licence="that of its Zenodo record (not seen)",
    citation="SPASS: Synthetic Polyphonic dataset with spatiotemporal labels of sound "
    "sources, 2023",
    home="Zenodo",
    steps=(
        "search zenodo.org for 'SPASS synthetic polyphonic dataset spatiotemporal "
        "labels' and get its audio and its tables",
    ),
    max_seconds=10.0,
    notes=("33 classes; the paper has 28, and it is not known which it merges",),
)


def _info_of(scene: str) -> DatasetInfo:
    return dataclasses.replace(
        _POOLED,
        name=f"spass/{scene}",
        title=f"SPASS, {scene}",
        classes=len(CLASSES) - len(ABSENT[scene].split()),
        splits={s: n // len(ABSENT) for s, n in _POOLED.splits.items()},
        files=f"a folder with {_table(scene)} and '{scene.title()} audio files'",
        notes=(),
    )


def _table(scene: str) -> str:
    return f"{list(ABSENT).index(scene) + 1}_MatrixLabels{scene.title()}.csv"


INFOS = (_POOLED, *(_info_of(scene) for scene in ABSENT))


class Spass(FileBuilder):
    """Builder of all scenes, or of one of them with the classes that occur in it.

    Args:
        scene: Name of the scene; None for all scenes together.
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """

    def __init__(
        self,
        scene: str | None,
        data_dir: str | os.PathLike[str] | None = None,
        on_bad: OnBad = "fail",
    ):
        self.dataset_info = _info_of(scene) if scene else _POOLED
        self._scenes = [scene] if scene else list(ABSENT)
        absent = set.intersection(*(set(ABSENT[s].split()) for s in self._scenes))
        self.classes = tuple(name for name in CLASSES if name not in absent)
        super().__init__(data_dir, on_bad)

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        audio = (f"{scene.title()}?audio?files/*.wav" for scene in self._scenes)
        markers = (*map(_table, self._scenes), *audio)
        return find_parts(place, dict.fromkeys(markers, ("*.zip",)))

    def layout(self) -> Splits:
        """Reads the tables and splits each scene."""
        splits: Splits = {"train": [], "validation": [], "test": []}
        for scene in self._scenes:
            clips = self._read_scene(scene)
            train_end = round(TRAIN_SHARE * len(clips))
            validation_end = round((TRAIN_SHARE + VALIDATION_SHARE) * len(clips))
            splits["train"] += clips[:train_end]
            splits["validation"] += clips[train_end:validation_end]
            splits["test"] += clips[validation_end:]
        return splits

    def _read_scene(self, scene: str) -> list[FileEntry]:
        """Returns the clips of a scene; their classes are those of their sources."""
        # Some copies have underscores in the names of folders. File names are unique.
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        path_of = {path.name: str(path) for path in paths}
        labels: dict[str, set[int]] = {}
        for line in read_table(self.files, _table(scene), ("audio_filename", "class")):
            label = self.index_of(line["class"], line.where)
            labels.setdefault(line["audio_filename"], set()).add(label)
        return [
            FileEntry(
                id=pathlib.PurePosixPath(name).stem,
                file=path_of.get(name, name),
                labels=tuple(sorted(labels[name])),
            )
            for name in sorted(labels)
        ]
