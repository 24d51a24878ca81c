"""The user's own recordings: a folder with one sub-folder per class, or a csv table.

`folder:/path`: every audio file below `/path/CLASS/` is a clip of that class.

`csv:/path/labels.csv`: the columns are `file` (relative to the csv, or absolute) and
`labels` (separated by `;`, empty for a clip without any class). Optional columns are
`split` (train, validation or test), `group` (a recording, a site or a speaker, whose
clips stay in one split), and `onset` and `offset` in seconds, where a file has one line
per event.

Splits that are not given are made by rule (see `splitting`): a fifth of the clips is
for validation, a fifth for the test, and the rest for training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from unmute_jax.audio.decode import SUFFIXES, decode_audio
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.splitting import split_by_rule
from unmute_jax.datasets.tables import Line, read_table
from unmute_jax.errors import InputError, unknown_name

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnEntry:
    """A clip that has not been read yet.

    Attributes:
        file: Path of its file, relative to the root or absolute.
        labels: Names of its classes.
        events: Names of classes with their onsets and offsets in seconds.
        split: Its split; empty if a rule decides.
        group: Name shared by clips that stay in one split.
    """

    file: str
    labels: tuple[str, ...]
    events: tuple[tuple[str, float, float], ...] = ()
    split: str = ""
    group: str = ""


class OwnFiles(ClipBuilder):
    """Builder of the user's own clips.

    Args:
        name: Name of the data set.
        place: Its folder, or its table.
        entries: Its clips.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """

    VERSION = tfds.core.Version("1.0.0")
    licence = "that of your recordings"
    citation = ""

    def __init__(
        self,
        name: str,
        place: pathlib.Path,
        entries: Sequence[OwnEntry],
        *,
        on_bad: OnBad,
    ):
        self.dataset_name = name
        self.source = f"your own files ({name})"
        self._files = Folder(place if place.is_dir() else place.parent)
        self.classes = tuple(sorted({c for e in entries for c in e.labels}))
        if len(self.classes) < 2:
            there = self.classes[0] if self.classes else "none"
            raise InputError(f"{place}: needs two classes or more; there is {there}")
        self.has_events = any(entry.events for entry in entries)
        is_single = all(len(entry.labels) == 1 for entry in entries)
        self.task = "single-label" if is_single else "multi-label"
        self._splits, rule = _split(entries, self.classes, str(place))
        self.protocols = (Protocol(name=rule, **{s: (s,) for s in SPLITS}),)
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
        return self._splits

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        return {entry.file: entry.group for entry in self._all_entries() if entry.group}

    def read_clip(self, entry: OwnEntry) -> tuple[Clip, str]:
        """See `ClipBuilder`."""
        data = self._files.read(entry.file)
        x, rate = decode_audio(data, self._files.where(entry.file))
        index = {name: i for i, name in enumerate(self.classes)}
        clip = Clip(
            id=entry.file,
            waveform=x,
            sample_rate=rate,
            labels=tuple(sorted(index[name] for name in entry.labels)),
            events=tuple((index[name], on, off) for name, on, off in entry.events),
        )
        return clip, hashlib.sha256(data).hexdigest()

    def _all_entries(self) -> list[OwnEntry]:
        return [entry for entries in self._splits.values() for entry in entries]


def folder(
    place: str, data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> OwnFiles:
    """Makes the builder of a folder with one sub-folder per class.

    Args:
        place: Path of the folder.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """
    root = _path("folder", place, data_dir)
    if not root.is_dir():
        raise InputError(f"{root}: is not a folder with one sub-folder per class")
    entries = [
        OwnEntry(file=str(file.relative_to(root)), labels=(kind.name,))
        for kind in sorted(root.iterdir())
        if kind.is_dir() and not kind.name.startswith(".")
        for file in sorted(kind.rglob("*"))
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
    ]
    if not entries:
        kinds = ", ".join(SUFFIXES)
        raise InputError(f"{root}: no audio in its sub-folders ({kinds})")
    return OwnFiles(f"folder:{root.name}", root, entries, on_bad=on_bad)


def table(
    place: str, data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> OwnFiles:
    """Makes the builder of a csv with one line per clip, or per event of a clip.

    Args:
        place: Path of the csv.
        data_dir: Not used, and therefore refused.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """
    path = _path("csv", place, data_dir)
    entries = _read_entries(path)
    return OwnFiles(f"csv:{path.stem}", path, entries, on_bad=on_bad)


def _path(
    kind: str, place: str, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path:
    if data_dir is not None:
        raise InputError(f"{kind}:{place} names its place; data_dir is not used")
    return pathlib.Path(place).expanduser().absolute()


# The csv


def _read_entries(path: pathlib.Path) -> list[OwnEntry]:
    lines = read_table(Folder(path.parent), path.name, ("file", "labels"))
    entries: dict[str, list[OwnEntry]] = {}
    for line in lines:
        if ("onset" in line.values) != ("offset" in line.values):
            raise InputError(f"{path}: onset and offset go together; one is missing")
        entry = _entry(line)
        entries.setdefault(entry.file, []).append(entry)
    return [_joined(of_file, str(path)) for of_file in entries.values()]


def _entry(line: Line) -> OwnEntry:
    if not line["file"]:
        raise InputError(f"{line.where}: names no file")
    split, events = line.get("split"), ()
    if split and split not in SPLITS:
        raise unknown_name(f"{line.where}: split", split, SPLITS)
    labels = tuple(line.names("labels", ";"))
    if line.get("onset") or line.get("offset"):
        onset, offset = line.seconds("onset"), line.seconds("offset")
        if not 0 <= onset < offset:
            raise InputError(
                f"{line.where}: an event cannot last from {onset} to {offset} s"
            )
        events = tuple((name, onset, offset) for name in labels)
    return OwnEntry(
        file=line["file"],
        labels=labels,
        events=events,
        split=split,
        group=line.get("group"),
    )


def _joined(lines: Sequence[OwnEntry], where: str) -> OwnEntry:
    """Makes one clip of its lines: one line, or any number of lines with events."""
    first = lines[0]
    if len(lines) > 1 and not all(line.events for line in lines):
        raise InputError(
            f"{where}: names {first.file} {len(lines)} times; only a file whose every "
            "line has onset and offset may have several lines"
        )
    for line in lines:
        if (line.split, line.group) != (first.split, first.group):
            raise InputError(
                f"{where}: the lines of {first.file} disagree on its split or group"
            )
    return dataclasses.replace(
        first,
        labels=tuple(dict.fromkeys(name for line in lines for name in line.labels)),
        events=tuple(event for line in lines for event in line.events),
    )


# Splits


def _split(
    entries: Sequence[OwnEntry], classes: Sequence[str], where: str
) -> tuple[dict[str, list[OwnEntry]], str]:
    """Returns the clips of every split, and the name of the protocol."""
    given = {entry.split for entry in entries if entry.split}
    if given and any(not entry.split for entry in entries):
        raise InputError(f"{where}: some clips have a split and others none")
    wanted = [split for split in SPLITS[1:] if split not in given]
    splits = {s: [entry for entry in entries if entry.split == s] for s in SPLITS}
    _check_groups(splits, where)
    if wanted:
        pool = splits["train"] if given else list(entries)
        labels = [[classes.index(name) for name in entry.labels] for entry in pool]
        groups = [entry.group or entry.file for entry in pool]
        for split in ("train", *wanted):
            splits[split] = []
        for entry, split in zip(
            pool, split_by_rule(groups, labels, wanted), strict=True
        ):
            splits[split].append(entry)
    if empty := [split for split, clips in splits.items() if not clips]:
        raise InputError(
            f"{where}: {len(entries)} clips leave none for {' and '.join(empty)}; add "
            "clips or groups, or a column split"
        )
    how = f"{' and '.join(wanted)} made by rule" if wanted else "given splits"
    by = "by group" if any(entry.group for entry in entries) else "by file"
    return splits, f"{how}, {by}" if wanted else how


def _check_groups(splits: Mapping[str, Sequence[OwnEntry]], where: str) -> None:
    """Refuses given splits that share a group, because its clips would leak."""
    seen: dict[str, str] = {}
    for split, entries in splits.items():
        for entry in entries:
            if entry.group and seen.setdefault(entry.group, split) != split:
                raise InputError(
                    f"{where}: group {entry.group!r} is in {seen[entry.group]} and in "
                    f"{split}; clips of a group must share a split"
                )
