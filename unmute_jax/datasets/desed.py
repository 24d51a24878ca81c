"""DESED: sounds at home, recorded and synthetic, in two versions.

N. Turpault et al., "Sound Event Detection in Domestic Environments with Weakly Labeled
Data and Soundscape Synthesis", DCASE 2019. `metadata/SET/SUBSET.tsv` describes the
clips in `audio/SET/SUBSET/`. Strong lists have the columns `filename, onset, offset,
event_label` (all but the first empty where a clip is silent). Weak lists have
`filename, event_labels`, separated by commas. The set `train` is for training,
`validation` for validation and `eval` for the test. Without the public evaluation set,
the recordings of `validation` are the test, and its synthetic clips (or a fifth of
`train`) are for validation. Recordings are from YouTube; those that no longer exist are
left out and counted.

The data set of that name in the paper is probably IDMT-DESED-FL (Zenodo 7551584), made
for federated learning from the same soundbank. The layout of its files is assumed.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence

from unmute_jax.datasets.base import OnBad
from unmute_jax.datasets.clips import Event
from unmute_jax.datasets.file_builder import FileBuilder, FileEntry, Splits
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.finding import find_all
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.datasets.tables import Line, read_table
from unmute_jax.errors import InputError

INFOS = (
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
        max_seconds=10.0,
        has_events=True,
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
        max_seconds=10.0,
        has_events=True,
        cache_name="desed_fl",
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
_SPLITS = {
    "train": "train",
    "validation": "validation",
    "eval": "test",
    "test": "test",
}
# The first group is the video, which is the same recording in every list.
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
    """Builder of the clips in all lists that have labels.

    Args:
        name: "desed" for the original recordings and synthetic soundscapes, "desed/fl"
            for IDMT-DESED-FL.
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """

    classes = CLASSES

    def __init__(
        self,
        name: str,
        data_dir: str | os.PathLike[str] | None = None,
        on_bad: OnBad = "fail",
    ):
        self.dataset_info = next(info for info in INFOS if info.name == name)
        # Nobody can obtain videos that were taken down.
        self.may_lack_files = name == "desed"
        super().__init__(data_dir, on_bad)

    def find(self, place: pathlib.Path) -> Files | None:
        """See `FileBuilder`."""
        markers = _MARKERS[self.dataset_info.name]
        files = find_all(place, markers, ("*.zip", "*.tar.gz"))
        return files if files and files.names("metadata") else None

    def layout(self) -> Splits:
        """Reads the lists.

        Strong lists come first, because they know more about a clip in two lists.
        """
        lists = [name for name in self.files.names("metadata") if name.endswith(".tsv")]
        self._sounds = frozenset(self.files.names("audio"))
        paths = (pathlib.PurePosixPath(sound) for sound in sorted(self._sounds))
        self._path_of = {path.name: str(path) for path in paths}
        by_kind: dict[str, Splits] = {"strong": {}, "weak": {}}
        for name in lists:
            subset = name.removeprefix("metadata/").removesuffix(".tsv")
            part = subset.split("/")[0]
            if part not in _SPLITS:
                raise InputError(
                    f"{self.files.where(name)}: {part!r} is none of "
                    f"{', '.join(_SPLITS)}"
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
            by_kind[kind].setdefault(_SPLITS[part], []).extend(entries)
        splits: Splits = {}
        for split in ("train", "validation", "test"):
            entries = [e for kind in by_kind.values() for e in kind.get(split, [])]
            if entries:
                splits[split] = entries
        return self._with_test(splits)

    def _with_test(self, splits: Splits) -> Splits:
        """Makes the recordings of `validation` the test if there is no other."""
        if "train" not in splits or len(splits) == 1:
            there = ", ".join(splits) or "nothing"
            raise InputError(
                f"{self.dataset_name}: there are lists of {there}; train and a test "
                f"are needed: {self.dataset_info.files}"
            )
        if "test" not in splits:
            clips = splits.pop("validation")
            # Only recordings have a group.
            splits["test"] = [entry for entry in clips if entry.group]
            synthetic = [entry for entry in clips if not entry.group]
            if synthetic:
                splits["validation"] = synthetic
            self.official_sizes = {}
            selects = "its synthetic clips" if synthetic else "a fifth of train"
            self.protocol_name = (
                f"recordings of validation are the test; {selects} select"
            )
        return splits

    def _strong(self, lines: Sequence[Line], subset: str) -> list[FileEntry]:
        events: dict[str, list[Event]] = {}
        for line in lines:
            of_clip = events.setdefault(line["filename"], [])
            if not line["event_label"]:
                continue  # The clip is silent.
            label = self.index_of(line["event_label"], line.where)
            event = (label, line.seconds("onset"), line.seconds("offset"))
            if event[1] < event[2]:
                of_clip.append(event)
            else:
                self.drop("events end before they begin")
        return [
            self._entry(subset, name, (), of_clip) for name, of_clip in events.items()
        ]

    def _weak(self, lines: Sequence[Line], subset: str) -> list[FileEntry]:
        return [
            self._entry(
                subset,
                line["filename"],
                self.labels_of(line.names("event_labels"), line.where),
                (),
            )
            for line in lines
        ]

    def _entry(
        self, subset: str, name: str, labels: Sequence[int], events: Sequence[Event]
    ) -> FileEntry:
        """Returns a clip.

        Every list numbers its synthetic clips anew, but recordings have names of their
        own. So a recording may also be in a folder that is not called like its list.
        """
        stem = pathlib.PurePosixPath(name).stem
        video = _YOUTUBE.fullmatch(stem)
        file = f"audio/{subset}/{name}"
        if video and file not in self._sounds:
            file = self._path_of.get(name, file)
        present = {*labels, *(label for label, _, _ in events)}
        return FileEntry(
            id=stem if video else f"{subset}/{stem}",
            file=file,
            labels=tuple(sorted(present)),
            events=tuple(sorted(events, key=lambda event: event[1:])),
            group=video[1] if video else "",
        )
