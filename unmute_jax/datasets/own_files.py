"""Your own recordings: a folder with one sub-folder per class, or a csv of labels.

`folder:/path`: every audio file below `/path/CLASS/` is a clip of that class.

`csv:/path/labels.csv`: columns `file` (relative to the csv, or absolute) and `labels`
(separated by `;`, empty where nothing is heard); optional `split` (train, validation,
test), `group` (clips of a group never part: a recording, a site, a speaker), and
`onset` and `offset` in seconds, where a file has one line per event.

Splits that are not given are made by rule (`splitting`): a fifth of the clips selects,
a fifth is reported, the rest trains.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import hashlib
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import soundfile as sf
import tensorflow_datasets as tfds

from unmute_jax.audio.decode import SUFFIXES, decode_audio
from unmute_jax.audio.resample import resample
from unmute_jax.datasets.base import ClipBuilder, OnBad, Recording
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.splitting import split_by_rule
from unmute_jax.errors import InputError, unknown_name

SPLITS = ("train", "validation", "test")

Event = tuple[str, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A clip.

    Attributes:
        file: Relative to the root, or absolute.
        labels: Names of its classes.
        events: (class, onset, offset) in seconds.
        split: Where it belongs; empty where a rule decides.
        group: Which clips it stays together with.
    """

    file: str
    labels: tuple[str, ...]
    events: tuple[Event, ...] = ()
    split: str = ""
    group: str = ""


class OwnFiles(ClipBuilder):
    """Clips that a person names."""

    VERSION = tfds.core.Version("1.0.0")
    licence = "that of your recordings"
    citation = ""

    def __init__(
        self, name: str, place: pathlib.Path, entries: Sequence[Entry], *, on_bad: OnBad
    ):
        self.dataset_name = name
        self.source = f"your own files ({name})"
        self._files = Folder(place if place.is_dir() else place.parent)
        self.classes = tuple(sorted({c for e in entries for c in e.labels}))
        if len(self.classes) < 2:
            have = self.classes[0] if self.classes else "none"
            raise InputError(f"{place}: needs two classes or more; there is {have}")
        self.has_events = any(entry.events for entry in entries)
        is_single = all(len(entry.labels) == 1 for entry in entries)
        self.task = "single-label" if is_single else "multi-label"
        self._entries_of, rule = _split(entries, self.classes, str(place))
        self.protocols = (Protocol(name=rule, **{s: (s,) for s in SPLITS}),)
        super().__init__(on_bad=on_bad)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {
            "name": self.dataset_name,
            "splits": {
                split: [dataclasses.astuple(entry) for entry in entries]
                for split, entries in self._entries_of.items()
            },
            "files": self._files.stamp(
                entry.file for entries in self._entries_of.values() for entry in entries
            ),
        }

    def entries(self) -> Mapping[str, Sequence[Entry]]:
        """The clips of each split; their usual sample rate becomes that of all."""
        files = [e.file for entries in self._entries_of.values() for e in entries]
        missing = self._files.missing(files)
        if missing and self.on_bad == "fail":
            raise InputError(
                f"{self._files.where(missing[0])}: there is no such file; it is the "
                f"first of {len(missing)} missing ones; on_bad='skip' leaves them out"
            )
        rates = collections.Counter(
            rate for file in files if (rate := _rate(self._files.where(file)))
        )
        # Of rates that are equally usual, the highest.
        self.sample_rate = max(rates, key=lambda r: (rates[r], r), default=0)
        return self._entries_of

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        entries = [e for entries in self._entries_of.values() for e in entries]
        return {entry.file: entry.group for entry in entries if entry.group}

    def record(self, entry: Entry) -> Recording:
        """Reads a clip."""
        data = self._files.read(entry.file)
        x, rate = decode_audio(data, self._files.where(entry.file))
        index = {name: i for i, name in enumerate(self.classes)}
        return Recording(
            id=entry.file,
            waveform=resample(x, rate, self.sample_rate),
            labels=sorted(index[name] for name in entry.labels),
            events=[(index[name], on, off) for name, on, off in entry.events],
            digest=hashlib.sha256(data).hexdigest(),
        )


def folder(
    place: str, data_dir: str | os.PathLike[str] | None = None, on_bad: OnBad = "fail"
) -> ClipBuilder:
    """The data set of a folder with one sub-folder per class."""
    root = _place("folder", place, data_dir)
    if not root.is_dir():
        raise InputError(f"{root}: is no folder; one with a sub-folder per class is")
    entries = [
        Entry(file=str(file.relative_to(root)), labels=(kind.name,))
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
) -> ClipBuilder:
    """The data set of a csv with a line per clip, or per event of a clip."""
    path = _place("csv", place, data_dir)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    entries = _entries(text, str(path))
    return OwnFiles(f"csv:{path.stem}", path, entries, on_bad=on_bad)


def _place(
    kind: str, place: str, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path:
    if data_dir is not None:
        raise InputError(f"{kind}:{place} names its place; data_dir is not used")
    return pathlib.Path(place).expanduser().absolute()


def _rate(path: str) -> int:
    """The sample rate in the header; 0 where there is none to be read."""
    try:
        return sf.info(path).samplerate
    except (sf.LibsndfileError, OSError):
        return 0


# The csv


def _entries(text: str, where: str) -> list[Entry]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or ()]
    for name in ("file", "labels"):
        if name not in columns:
            found = ", ".join(columns) or "nothing"
            raise InputError(f"{where}: has no column {name!r}, only {found}")
    if ("onset" in columns) != ("offset" in columns):
        raise InputError(f"{where}: onset and offset go together; one is missing")
    reader.fieldnames = columns
    lines: dict[str, list[Entry]] = {}
    for line in reader:
        entry = _entry(line, f"{where}, line {reader.line_num}")
        lines.setdefault(entry.file, []).append(entry)
    return [_joined(entries, where) for entries in lines.values()]


def _entry(line: Mapping[str | None, Any], where: str) -> Entry:
    if None in line or None in line.values():
        raise InputError(f"{where}: has more or fewer fields than the header")
    fields = {str(key): str(value).strip() for key, value in line.items()}
    if not fields["file"]:
        raise InputError(f"{where}: names no file")
    labels = tuple(n for name in fields["labels"].split(";") if (n := name.strip()))
    split, events = fields.get("split", ""), ()
    if split and split not in SPLITS:
        raise unknown_name(f"{where}: split", split, SPLITS)
    if fields.get("onset") or fields.get("offset"):
        onset, offset = (
            _seconds(fields, "onset", where),
            _seconds(fields, "offset", where),
        )
        if not 0 <= onset < offset:
            raise InputError(f"{where}: an event from {onset} to {offset} s is none")
        events = tuple((name, onset, offset) for name in labels)
    return Entry(
        file=fields["file"],
        labels=tuple(dict.fromkeys(labels)),
        events=events,
        split=split,
        group=fields.get("group", ""),
    )


def _seconds(fields: Mapping[str, str], name: str, where: str) -> float:
    try:
        seconds = float(fields[name])
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InputError(f"{where}: {name} is {fields[name]!r}, not seconds")
    return seconds


def _joined(lines: Sequence[Entry], where: str) -> Entry:
    """One clip from its lines: one without events, or any number with them."""
    first = lines[0]
    if len(lines) > 1 and not all(line.events for line in lines):
        raise InputError(
            f"{where}: names {first.file} {len(lines)} times; only a file whose every "
            "line has onset and offset may come more than once"
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
    entries: Sequence[Entry], classes: Sequence[str], where: str
) -> tuple[dict[str, list[Entry]], str]:
    """The clips of every split, and what the protocol is called."""
    given = {entry.split for entry in entries if entry.split}
    if given and any(not entry.split for entry in entries):
        raise InputError(f"{where}: some clips have a split and others none")
    wanted = [split for split in SPLITS[1:] if split not in given]
    found = {s: [entry for entry in entries if entry.split == s] for s in SPLITS}
    _check_groups(found, where)
    if wanted:
        pool = found["train"] if given else list(entries)
        labels = [[classes.index(name) for name in entry.labels] for entry in pool]
        groups = [entry.group or entry.file for entry in pool]
        for split in ("train", *wanted):
            found[split] = []
        for entry, split in zip(
            pool, split_by_rule(groups, labels, wanted), strict=True
        ):
            found[split].append(entry)
    if empty := [split for split, clips in found.items() if not clips]:
        raise InputError(
            f"{where}: {len(entries)} clips leave none for {' and '.join(empty)}; add "
            "clips or groups, or a column split"
        )
    how = f"{' and '.join(wanted)} made by rule" if wanted else "given splits"
    by = "by group" if any(entry.group for entry in entries) else "by file"
    return found, f"{how}, {by}" if wanted else how


def _check_groups(found: Mapping[str, Sequence[Entry]], where: str) -> None:
    """Refuses given splits that share a group: their sources would leak."""
    seen: dict[str, str] = {}
    for split, entries in found.items():
        for entry in entries:
            if entry.group and seen.setdefault(entry.group, split) != split:
                raise InputError(
                    f"{where}: group {entry.group!r} is in {seen[entry.group]} and in "
                    f"{split}; clips of a group must share a split"
                )
