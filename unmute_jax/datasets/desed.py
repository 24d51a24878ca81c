"""DESED: sounds at home, recorded and synthetic, in two readings.

N. Turpault et al., "Sound Event Detection in Domestic Environments with Weakly Labeled
Data and Soundscape Synthesis", DCASE 2019. `metadata/SET/SUBSET.tsv` describes what is
in `audio/SET/SUBSET/`: strong lists have `filename, onset, offset, event_label` (empty
where a clip is silent), weak ones `filename, event_labels`, separated by commas. Lists
of the set `train` train, those of `validation` validate, those of `eval` are the test.
Without the public evaluation set the recordings of `validation` are the test, and its
synthetic clips (or a fifth of `train`) validate. Recordings are from YouTube: those
that are gone are left out and counted.

The data set of that name in the paper is probably IDMT-DESED-FL (Zenodo 7551584), made
of the same soundbank for federated learning; what its files look like is assumed.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.file_builder import Entry, Event, FileBuilder, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_all
from unmute_jax.datasets.info import DatasetInfo, obtain
from unmute_jax.datasets.tables import Line, read_table
from unmute_jax.errors import InputError

FACTS = (
    DatasetInfo(
        name="desed",
        title="DESED",
        task="multi-label",
        classes=10,
        splits={"train": 0, "validation": 0, "test": 692},
        protocol="official sets; the public evaluation set is the test",
        layout="verified",
        checked="the repository and its lists",
        files="a folder with audio/SET/SUBSET/*.wav and metadata/SET/SUBSET.tsv (SET "
        "is train, validation or eval), as folders or archives",
        licence="file by file, see the lists in the archives",
        citation="N. Turpault et al., Sound Event Detection in Domestic Environments "
        "with Weakly Labeled Data and Soundscape Synthesis, DCASE 2019",
        home="https://github.com/turpaultn/DESED",
        steps=(
            "get dcase_synth.zip of https://zenodo.org/records/6026841",
            "get DESED_public_eval.tar.gz of https://zenodo.org/records/4560759",
            "get the recordings (weak, validation) with the package desed, as the "
            "repository says",
        ),
        longest=10.0,
        is_strong=True,
    ),
    DatasetInfo(
        name="desed/fl",
        title="IDMT-DESED-FL",
        task="multi-label",
        classes=10,
        splits={"train": 20_000, "test": 0},
        protocol="its train and test; a fifth of train validates",
        layout="assumed",
        checked="metadata/train.tsv and test.tsv (filename, onset, offset, "
        "event_label) beside audio/train/ and audio/test/",
        files="a folder with audio/train/*.wav, audio/test/*.wav, metadata/train.tsv "
        "and metadata/test.tsv",
        licence="CC BY-NC-ND 4.0 (second-hand; no converted copy may be passed on)",
        citation="D. S. Johnson et al., DESED-FL and URBAN-FL: Federated Learning "
        "Datasets for Sound Event Detection, arXiv:2102.08833, 2021",
        home="https://zenodo.org/records/7551584",
        steps=("get the archives of that record and unpack them",),
        longest=10.0,
        is_strong=True,
        place="desed_fl",
    ),
)

CLASSES = (
    "Alarm_bell_ringing",
    "Blender",
    "Cat",
    "Dishes",
    "Dog",
    "Electric_shaver_toothbrush",
    "Frying",
    "Running_water",
    "Speech",
    "Vacuum_cleaner",
)

STRONG = "filename, onset, offset, event_label"
_SETS = {
    "train": "train",
    "validation": "validation",
    "eval": "test",
    "test": "test",
}
# Of a video: the same recording in whatever list.
_YOUTUBE = re.compile(r"(Y.{11})_\d+\.\d+_\d+\.\d+")
_MARKERS = {
    "desed": (
        "metadata/*/*.tsv",
        "metadata/*/*/*.tsv",
        "audio/*/*/*.wav",
        "audio/*/*/*/*.wav",
    ),
    "desed/fl": ("metadata/*.tsv", "audio/*/*.wav"),
}


class Desed(FileBuilder):
    """The clips of every list that has labels."""

    classes = CLASSES

    def __init__(self, files: Files, facts: DatasetInfo, *, on_bad: OnBad):
        self.facts = facts
        # Nobody can be asked for videos that were taken down.
        self.may_lack_files = facts.name == "desed"
        super().__init__(files, on_bad=on_bad)

    def layout(self) -> Splits:
        """The lists of events first: they know more of a clip that is in two."""
        lists = [name for name in self.files.names("metadata") if name.endswith(".tsv")]
        self._sounds = frozenset(self.files.names("audio"))
        paths = (pathlib.PurePosixPath(sound) for sound in sorted(self._sounds))
        self._videos = {path.name: str(path) for path in paths}
        found: dict[str, Splits] = {"strong": {}, "weak": {}}
        for name in lists:
            subset = name.removeprefix("metadata/").removesuffix(".tsv")
            part = subset.split("/")[0]
            if part not in _SETS:
                raise InputError(
                    f"{self.files.where(name)}: {part!r} is none of {', '.join(_SETS)}"
                )
            lines = read_table(self.files, name, ("filename",), delimiter="\t")
            columns = list(lines[0].values) if lines else ["filename"]
            if {"event_label", "onset", "offset"} <= set(columns):
                kind, entries = "strong", self._strong(lines, subset)
            elif "event_labels" in columns:
                kind, entries = "weak", self._weak(lines, subset)
            elif columns == ["filename"]:
                self.drop("clips are in lists without labels", len(lines))
                continue
            else:
                raise InputError(
                    f"{self.files.where(name)}: has columns {', '.join(columns)}; "
                    f"{STRONG} are expected, or filename, event_labels"
                )
            found[kind].setdefault(_SETS[part], []).extend(entries)
        splits: Splits = {}
        for split in ("train", "validation", "test"):
            entries = [e for kind in found.values() for e in kind.get(split, [])]
            if entries:
                splits[split] = entries
        return self._with_a_test(splits)

    def _with_a_test(self, splits: Splits) -> Splits:
        if "train" not in splits or len(splits) == 1:
            there = ", ".join(splits) or "nothing"
            raise InputError(
                f"{self.facts.name}: there are lists of {there}; train and a test are "
                f"needed: {self.facts.files}"
            )
        if "test" not in splits:
            held_out = splits.pop("validation")
            splits["test"] = [entry for entry in held_out if entry.group]
            synthetic = [entry for entry in held_out if not entry.group]
            if synthetic:
                splits["validation"] = synthetic
            self.official = {}
            selects = "its synthetic clips" if synthetic else "a fifth of train"
            self.protocol = f"recordings of validation are the test; {selects} select"
        return splits

    def _strong(self, lines: Sequence[Line], subset: str) -> list[Entry]:
        events: dict[str, list[Event]] = {}
        for line in lines:
            of_clip = events.setdefault(line["filename"], [])
            if not line["event_label"]:
                continue  # Nothing is heard in this clip.
            label = self.index_of(line["event_label"], line.where)
            event = (label, line.seconds("onset"), line.seconds("offset"))
            if event[1] < event[2]:
                of_clip.append(event)
            else:
                self.drop("events end before they begin")
        return [
            self._entry(subset, name, (), of_clip) for name, of_clip in events.items()
        ]

    def _weak(self, lines: Sequence[Line], subset: str) -> list[Entry]:
        return [
            self._entry(
                subset,
                line["filename"],
                [self.index_of(n, line.where) for n in line.names("event_labels")],
                (),
            )
            for line in lines
        ]

    def _entry(
        self, subset: str, name: str, labels: Sequence[int], events: Sequence[Event]
    ) -> Entry:
        """A clip; synthetic ones are numbered anew in every list, recordings are not.

        So a recording may also be in a folder with another name than its list.
        """
        stem = pathlib.PurePosixPath(name).stem
        video = _YOUTUBE.fullmatch(stem)
        file = f"audio/{subset}/{name}"
        if video and file not in self._sounds:
            file = self._videos.get(name, file)
        present = {*labels, *(label for label, _, _ in events)}
        return Entry(
            id=stem if video else f"{subset}/{stem}",
            file=file,
            labels=tuple(sorted(present)),
            events=tuple(sorted(events, key=lambda event: event[1:])),
            group=video[1] if video else "",
        )


def desed(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> FileBuilder:
    """The original: recordings and synthetic soundscapes."""
    return _made(FACTS[0], data_dir, on_bad)


def fl(
    data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> FileBuilder:
    """IDMT-DESED-FL."""
    return _made(FACTS[1], data_dir, on_bad)


def _made(
    facts: DatasetInfo, data_dir: str | os.PathLike[str] | None, on_bad: OnBad
) -> FileBuilder:
    files = obtain(facts, data_dir, lambda place: _find(place, facts))
    return Desed(files, facts, on_bad=on_bad)


def _find(place: pathlib.Path, facts: DatasetInfo) -> Files | None:
    files = find_all(place, _MARKERS[facts.name], ("*.zip", "*.tar.gz"))
    return files if files and files.names("metadata") else None
