"""What builders share that read published files: a layout and a label rule remain.

A subclass names its `DatasetInfo` and says in `layout` which file is which clip.
Everything else is here: rows that name a clip again are dropped and counted, official
sizes are compared, a validation split is made by rule where there is none, and clips
are read, cropped and brought to one sample rate.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float

from unmute_jax.audio.decode import decode_audio
from unmute_jax.audio.resample import resample
from unmute_jax.datasets.base import ClipBuilder, OnBad, Recording
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.info import DatasetInfo
from unmute_jax.datasets.splitting import split_by_rule
from unmute_jax.errors import InputError, unknown_name

Event = tuple[int, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A clip, before it is read.

    Attributes:
        id: Unique in the data set.
        file: As `Files` name it.
        labels: Class indices.
        events: (class, onset, offset) in seconds of the clip.
        start: Where in the file the clip begins, in seconds.
        seconds: How long it is; None: to the end of the file.
        group: Which clips it stays together with where a rule makes splits.
    """

    id: str
    file: str
    labels: tuple[int, ...]
    events: tuple[Event, ...] = ()
    start: float = 0.0
    seconds: float | None = None
    group: str = ""


Splits = dict[str, list[Entry]]


class FileBuilder(ClipBuilder):
    """Base of the builders of published files.

    Attributes:
        facts: Of the data set.
        protocol: What the splits are; `layout` may change it with what is there.
        official: Sizes of the splits, likewise.
        remarks: Notes that `layout` adds.
        may_lack_files: Clips that the tables name and nobody may have any more (videos
            that were taken down) are left out and counted, whatever `on_bad` says.
    """

    VERSION = tfds.core.Version("1.0.0")
    facts: DatasetInfo
    may_lack_files = False

    def __init__(self, files: Files, *, on_bad: OnBad):
        self.files = files
        self.dropped = collections.Counter[str]()
        self.remarks: list[str] = []
        facts = self.facts
        self.dataset_name, self.task = facts.name, facts.task
        self.licence, self.citation = facts.licence, facts.citation
        self.sample_rate, self.has_events = facts.sample_rate, facts.is_strong
        self.source = facts.title
        self.protocol, self.official = facts.protocol, facts.splits
        self._splits = self.complete(self._checked(self.layout()))
        self.notes = self._notes()
        self.protocols = (
            Protocol(
                name=self.protocol,
                train=tuple(s for s in self._splits if s not in ("validation", "test")),
                validation=("validation",),
                test=("test",),
            ),
        )
        super().__init__(on_bad=on_bad)

    @abc.abstractmethod
    def layout(self) -> Splits:
        """The clips of every official split; sets `classes` where files name them."""

    def complete(self, splits: Splits) -> Splits:
        """Makes what is not official: by default a missing validation split."""
        if "validation" in splits:
            return splits
        train = splits["train"]
        parts = split_by_rule(
            [entry.group or entry.id for entry in train],
            [entry.labels for entry in train],
            ["validation"],
        )
        made: Splits = {"train": [], "validation": []}
        for entry, part in zip(train, parts, strict=True):
            made[part].append(entry)
        if not made["validation"]:
            raise InputError(
                f"{self.dataset_name}: {len(train)} clips to train leave none to "
                "validate; three or more are needed of some class"
            )
        return {**made, **{s: clips for s, clips in splits.items() if s != "train"}}

    def index_of(self, name: str, where: str) -> int:
        """The label of a class; `InputError` names the place of an unknown one."""
        if name not in self.classes:
            raise unknown_name(
                f"class of {self.facts.name} in {where}", name, self.classes
            )
        return self.classes.index(name)

    def labels_of(self, names: Iterable[str], where: str) -> tuple[int, ...]:
        """The labels of classes, ascending, each once."""
        return tuple(sorted({self.index_of(name, where) for name in names}))

    def drop(self, why: str, count: int = 1) -> None:
        """Counts rows that a rule leaves out; results tell of them."""
        self.dropped[why] += count

    # What all of them do.

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        entries = [entry for clips in self._splits.values() for entry in clips]
        return {
            "data set": self.dataset_name,
            "longest": self.facts.longest,
            "splits": {
                split: [dataclasses.astuple(entry) for entry in clips]
                for split, clips in self._splits.items()
            },
            "files": self.files.stamp(entry.file for entry in entries),
        }

    def entries(self) -> Mapping[str, Sequence[Entry]]:
        """The clips of every split."""
        names = [entry.file for clips in self._splits.values() for entry in clips]
        missing = self.files.missing(names)
        if missing and self.on_bad == "fail":
            raise InputError(
                f"{self.dataset_name}: {len(missing)} of its {len(names)} files are "
                f"missing, the first is {self.files.where(missing[0])}; "
                "on_bad='skip' leaves them out"
            )
        if self.notes:
            print(f"{self.dataset_name}: {'; '.join(self.notes)}", file=sys.stderr)
        return self._splits

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        entries = [entry for clips in self._splits.values() for entry in clips]
        return {entry.id: entry.group for entry in entries if entry.group}

    def record(self, entry: Entry) -> Recording:
        """Reads a clip."""
        x, digest = self.waveform(entry)
        seconds = len(x) / self.sample_rate
        return Recording(
            id=entry.id,
            waveform=x,
            labels=entry.labels,
            events=_within(entry.events, seconds),
            digest=digest,
        )

    def waveform(self, entry: Entry) -> tuple[Float[np.ndarray, " S"], str]:
        """A clip at the rate of the data set, and what tells it from others."""
        data = self.files.read(entry.file)
        where = self.files.where(entry.file)
        x, rate = decode_audio(data, where)
        first = round(entry.start * rate)
        seconds = self.facts.longest if entry.seconds is None else entry.seconds
        last = None if seconds is None else first + round(seconds * rate)
        if not len(x[first:last]):
            raise InputError(f"{where}: ends before second {entry.start:g}")
        self.sample_rate = self.sample_rate or rate
        digest = hashlib.sha256(data)
        if entry.start:
            digest.update(f" from {entry.start}".encode())
        return resample(x[first:last], rate, self.sample_rate), digest.hexdigest()

    def _checked(self, splits: Splits) -> Splits:
        """The splits without what must not or cannot be in them."""
        seen: set[str] = set()
        made: Splits = {}
        for split, entries in splits.items():
            made[split] = []
            for entry in entries:
                if entry.id in seen:
                    self.drop("rows name a clip again")
                else:
                    made[split].append(entry)
                seen.add(entry.id)
        if self.may_lack_files:
            self._leave_out_lacking(made)
        if empty := [split for split, entries in made.items() if not entries]:
            raise InputError(
                f"{self.dataset_name}: no clips of {', '.join(empty)} are there; give "
                f"{self.facts.files}"
            )
        self._sizes = {
            split: (len(made[split]), official)
            for split, official in self.official.items()
            if official and split in made and official != len(made[split])
        }
        return made

    def _leave_out_lacking(self, splits: Splits) -> None:
        for split, entries in splits.items():
            lacking = set(self.files.missing(entry.file for entry in entries))
            splits[split] = [entry for entry in entries if entry.file not in lacking]
            if lacking:
                self.drop(
                    f"clips of {split} that are listed are not there", len(lacking)
                )

    def _notes(self) -> tuple[str, ...]:
        facts = self.facts
        notes = [*facts.notes, *self.remarks]
        if facts.layout == "assumed":
            notes.append(f"the layout of its files is assumed: {facts.checked}")
        if len(self.classes) != facts.classes:
            notes.append(f"{len(self.classes)} of the official {facts.classes} classes")
        if facts.longest:
            notes.append(f"clips keep their first {facts.longest:g} s")
        notes += [
            f"{split}: {found:,} of the official {official:,} clips"
            for split, (found, official) in self._sizes.items()
        ]
        notes += [f"dropped: {n} {why}" for why, n in sorted(self.dropped.items())]
        return tuple(notes)


def _within(events: Sequence[Event], seconds: float) -> list[Event]:
    """The events, or what of them is inside a clip."""
    return [(c, on, min(off, seconds)) for c, on, off in events if on < seconds]
