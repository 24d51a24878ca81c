"""SPASS: synthetic polyphonic soundscapes of five urban scenes.

Per scene 5,000 files such as `Market audio files/market00001.wav`, and a table such as
`1_MatrixLabelsMarket.csv` with a row per source, of which `audio_filename` and `class`
are read. Some recordings of streets are not 10 s long.

No split is official. Here, per scene and in the order of names, the first 70 % train
(17,500 clips of all scenes, as many as in the paper), 5 % validate, and the last 25 %
are the test, those that SSLAM tests on; with `config.refit` its 75 % train.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.file_builder import Entry, FileBuilder, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_parts
from unmute_jax.datasets.info import DatasetInfo, obtain
from unmute_jax.datasets.tables import read_table

CLASSES = tuple(
    "air_conditioner airborne alarm bells bird braking bus_idling bus_moving "
    "car_idling car_moving crowd cutting dog drilling explosives fireworks horn impact "
    "motorcycle_idling motorcycle_moving music rain river shouting siren steps talk "
    "truck_idling truck_moving Vwater water waves wind".split()
)
# In the order of the tables; with the classes that do not occur.
ABSENT = {
    "market": "bells braking cutting drilling explosives fireworks impact river Vwater "
    "water waves",
    "park": "air_conditioner alarm braking cutting drilling explosives impact river "
    "Vwater waves",
    "square": "air_conditioner explosives fireworks river Vwater waves",
    "street": "bells fireworks river Vwater water waves",
    "waterfront": "air_conditioner bells explosives water",
}
CLIPS_PER_SCENE = 5000
# Shares of a scene, in the order of names.
TRAIN, VALIDATION = 0.70, 0.05

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
    sample_rate=44_100,
    longest=10.0,
    notes=("33 classes, the paper has 28: which it merges is not known",),
)


def _of_scene(scene: str) -> DatasetInfo:
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


FACTS = (_POOLED, *(_of_scene(scene) for scene in ABSENT))


class Spass(FileBuilder):
    """The soundscapes of some scenes.

    Args:
        files: The tables and the audio.
        facts: Of these scenes together.
        scenes: Which.
        on_bad: See `load_dataset`.
    """

    def __init__(
        self, files: Files, facts: DatasetInfo, scenes: Sequence[str], *, on_bad: OnBad
    ):
        self.facts = facts
        self._scenes = scenes
        absent = set.intersection(*(set(ABSENT[scene].split()) for scene in scenes))
        self.classes = tuple(name for name in CLASSES if name not in absent)
        super().__init__(files, on_bad=on_bad)

    def layout(self) -> Splits:
        """The classes of a clip are those of its sources."""
        splits: Splits = {"train": [], "validation": [], "test": []}
        for scene in self._scenes:
            clips = self._clips(scene)
            ends = [round(s * len(clips)) for s in (TRAIN, TRAIN + VALIDATION)]
            splits["train"] += clips[: ends[0]]
            splits["validation"] += clips[ends[0] : ends[1]]
            splits["test"] += clips[ends[1] :]
        return splits

    def _clips(self, scene: str) -> list[Entry]:
        # The folders are also seen with underscores; the names of files are unique.
        paths = (pathlib.PurePosixPath(name) for name in self.files.names())
        place = {path.name: str(path) for path in paths}
        labels: dict[str, set[int]] = {}
        for line in read_table(self.files, _table(scene), ("audio_filename", "class")):
            label = self.index_of(line["class"], line.where)
            labels.setdefault(line["audio_filename"], set()).add(label)
        return [
            Entry(
                id=pathlib.PurePosixPath(name).stem,
                file=place.get(name, name),
                labels=tuple(sorted(labels[name])),
            )
            for name in sorted(labels)
        ]


def spass(
    scene: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
) -> FileBuilder:
    """All scenes, or one of them with the classes that occur in it."""
    scenes = [scene] if scene else list(ABSENT)
    facts = _of_scene(scene) if scene else _POOLED
    files = obtain(facts, data_dir, lambda place: _find(place, scenes))
    return Spass(files, facts, scenes, on_bad=on_bad)


def _find(place: pathlib.Path, scenes: Sequence[str]) -> Files | None:
    audio = (f"{scene.title()}?audio?files/*.wav" for scene in scenes)
    markers = (*map(_table, scenes), *audio)
    return find_parts(place, dict.fromkeys(markers, ("*.zip",)))
