"""The user's own recordings: a folder with one sub-folder per class, or a csv table.

`folder:/path` is read by `class_folders` and `csv:/path/labels.csv` by `label_table`.
Splits that are not given are made by rule (see `splitting`): a fifth of the clips is
for validation, a fifth for the test, and the rest for training. `folds` makes folds
instead, and `group_pattern` finds groups in the names of files.

Whether a folder has changed since it was prepared is seen by the sizes and times of its
files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from unmute_jax.audio.decode import audio_seconds
from unmute_jax.audio.listing import check_name
from unmute_jax.console import inform
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.class_folders import read_class_folders
from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.division import divide
from unmute_jax.datasets.files import Files, Folder
from unmute_jax.datasets.label_table import read_label_table
from unmute_jax.datasets.names import notes_on_similar
from unmute_jax.datasets.own_clips import OwnEntry, with_groups
from unmute_jax.errors import InputError

# Seconds by which an event may end behind the end of its clip: times are rounded, and
# compressed files gain or lose some samples.
ROUNDING = 0.1


class OwnFiles(ClipBuilder):
    """Builder of the user's own clips.

    Args:
        name: Name of the data set.
        place: Its folder, or its table.
        entries: Its clips.
        notes: Remarks on how they were found.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
        folds: Folds to make instead of splits; see `division.divide`.
        files: The files of the clips; by default those in the folder.
        classes: Names of the classes in the order of the label indices; by default
            those that clips have, sorted.
    """

    VERSION = tfds.core.Version("1.0.0")
    licence = "that of your recordings"
    citation = ""

    def __init__(
        self,
        name: str,
        place: pathlib.Path,
        entries: Sequence[OwnEntry],
        notes: Sequence[str],
        *,
        on_bad: OnBad,
        folds: str | int = "",
        files: Files | None = None,
        classes: Sequence[str] = (),
    ):
        self.dataset_name, self._place = name, place
        self.source = f"your own files ({name})"
        self._files = files or Folder(place if place.is_dir() else place.parent)
        there = sorted({c for e in entries for c in e.labels})
        self.classes = tuple(classes or there)
        if len(self.classes) < 2:
            only = self.classes[0] if self.classes else "none"
            raise InputError(f"{place}: needs two classes or more; there is {only}")
        self.has_events = any(entry.events for entry in entries)
        is_single = all(len(entry.labels) == 1 for entry in entries)
        self.task = "single-label" if is_single else "multi-label"
        index = {name: i for i, name in enumerate(self.classes)}
        division = divide(
            [entry.file for entry in entries],
            [[index[name] for name in entry.labels] for entry in entries],
            classes=self.classes,
            where=str(place),
            given=[entry.split for entry in entries],
            groups=[entry.group for entry in entries],
            folds=folds,
        )
        self._splits = {
            split: [entries[i] for i in rows] for split, rows in division.rows.items()
        }
        self.protocols = division.protocols
        self.notes = (*notes, *notes_on_similar(self.classes), *division.notes)
        super().__init__(on_bad=on_bad)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {
            "name": self.dataset_name,
            "splits": {
                split: [dataclasses.astuple(entry) for entry in entries]
                for split, entries in self._splits.items()
            },
            "files": self._files.stamp(entry.file for entry in self._all_entries()),
        }

    def entries(self) -> Mapping[str, Sequence[OwnEntry]]:
        """See `ClipBuilder`."""
        if self.on_bad == "fail":
            names = [entry.file for entry in self._all_entries()]
            self._files.check_complete(names, self.dataset_name)
        if self.notes:
            inform(f"{self.dataset_name}: {'; '.join(self.notes)}", error=True)
        return self._splits

    def id_of(self, entry: OwnEntry) -> str:
        """See `ClipBuilder`."""
        return entry.file

    def seconds_of(self, entry: OwnEntry) -> float:
        """Returns the length that the header of a file states, in seconds."""
        return audio_seconds(
            self._files.read(entry.file), self._files.where(entry.file)
        )

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        return {entry.file: entry.group for entry in self._all_entries() if entry.group}

    def read_clip(self, entry: OwnEntry) -> tuple[Clip, str]:
        """See `ClipBuilder`."""
        data = self._files.read(entry.file)
        x, rate = self.decode(data, self._files.where(entry.file))
        index = {name: i for i, name in enumerate(self.classes)}
        clip = Clip(
            id=self.id_of(entry),
            waveform=x,
            sample_rate=rate,
            labels=tuple(sorted(index[name] for name in entry.labels)),
            events=tuple(
                (index[name], onset, offset)
                for name, onset, offset in self._events(entry, len(x) / rate)
            ),
        )
        return clip, hashlib.sha256(data).hexdigest()

    def _events(
        self, entry: OwnEntry, seconds: float
    ) -> Iterator[tuple[str, float, float]]:
        """Yields the events of a clip, which end with the clip at the latest."""
        for name, onset, offset in entry.events:
            if onset >= seconds or offset > seconds + ROUNDING:
                raise InputError(
                    f"{self._place}: the event {name!r} from {onset:g} to {offset:g} s "
                    f"of {entry.file} lies behind its end at {seconds:g} s"
                )
            yield name, onset, min(offset, seconds)

    def _all_entries(self) -> list[OwnEntry]:
        return [entry for entries in self._splits.values() for entry in entries]


def folder(
    place: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    group_pattern: str = "",
    folds: str | int = "",
) -> OwnFiles:
    """Makes the builder of a folder with one sub-folder per class.

    Args:
        place: Path of the folder.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
        group_pattern: Regular expression that finds the group of a clip in the name of
            its file; see `own_clips.with_groups`.
        folds: "groups", or a number of folds; see `division.divide`.
    """
    root = _path("folder", place, data_dir)
    if root.is_file():
        raise InputError(
            f"{root}: is a file, and folder: reads a folder with one sub-folder per "
            "class; tables are read by csv: and annotations:"
        )
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder")
    entries, notes = read_class_folders(root)
    if group_pattern:
        entries = with_groups(entries, group_pattern, str(root))
    return OwnFiles(
        f"folder:{root.name}", root, entries, notes, on_bad=on_bad, folds=folds
    )


def table(
    place: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    group_pattern: str = "",
    folds: str | int = "",
) -> OwnFiles:
    """Makes the builder of a csv with one line per clip, or per event of a clip.

    Args:
        place: Path of the csv.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
        group_pattern: Regular expression that finds the group of a clip in the name of
            its file; see `own_clips.with_groups`.
        folds: "groups", or a number of folds; see `division.divide`.
    """
    path = _path("csv", place, data_dir)
    entries, notes = read_label_table(path)
    if group_pattern:
        entries = with_groups(entries, group_pattern, str(path))
    return OwnFiles(
        f"csv:{path.stem}", path, entries, notes, on_bad=on_bad, folds=folds
    )


def _path(
    kind: str, place: str, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path:
    if data_dir is not None:
        raise InputError(f"{kind}:{place} names its place; data_dir is not used")
    return pathlib.Path(check_name(place)).expanduser().absolute()
