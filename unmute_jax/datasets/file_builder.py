"""The base of builders that read published files.

A subclass names its `DatasetInfo`, finds its files in a place (`find`), and says in
`layout` which file is which clip. Everything else is here: clips that are listed twice
are dropped and counted, sizes are compared with the official ones, a missing validation
split is made by rule, and clips are read and cropped.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float32

from unmute_jax.console import inform
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.clips import Clip, Event
from unmute_jax.datasets.dataset import Protocol
from unmute_jax.datasets.files import Files
from unmute_jax.datasets.info import DatasetInfo, obtain
from unmute_jax.datasets.splitting import split_by_rule
from unmute_jax.errors import InputError, unknown_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileEntry:
    """A clip that has not been read yet.

    Attributes:
        id: Name that is unique in the data set.
        file: Name of its file in the `Files` of the data set.
        labels: Indices of its classes, in ascending order.
        events: Its events, with onsets and offsets in seconds from its beginning.
        start: Beginning of the clip in its file, in seconds.
        seconds: Length of the clip; None if it extends to the end of the file.
        group: Name shared by clips that a split made by rule keeps together.
    """

    id: str
    file: str
    labels: tuple[int, ...]
    events: tuple[Event, ...] = ()
    start: float = 0.0
    seconds: float | None = None
    group: str = ""


Splits = dict[str, list[FileEntry]]


class FileBuilder(ClipBuilder):
    """Base class of the builders of published files.

    Attributes:
        dataset_info: Description of the data set.
        files: The files of the data set.
        protocol_name: Name of the protocol; `layout` may change it.
        official_sizes: Official size of each split; `layout` may change them.
        remarks: Notes that `layout` adds.
        may_lack_files: Whether listed clips without a file are left out and counted
            even with `on_bad="fail"`, because nobody can obtain them any more (videos
            that were taken down).

    Args:
        data_dir: Place of the files; see `load_dataset`.
        on_bad: Treatment of unreadable clips; see `load_dataset`.
    """

    VERSION = tfds.core.Version("1.0.0")
    dataset_info: DatasetInfo
    may_lack_files = False

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        on_bad: OnBad = "fail",
    ):
        info = self.dataset_info
        self.files = obtain(info, data_dir, self.find)
        self.dropped = collections.Counter[str]()
        self.remarks: list[str] = []
        self.dataset_name, self.task = info.name, info.task
        self.licence, self.citation = info.licence, info.citation
        self.source, self.has_events = info.title, info.has_events
        self.protocol_name, self.official_sizes = info.protocol, info.splits
        self._splits = self.complete(self._checked(self.layout()))
        self.notes = self._notes()
        self.protocols = (
            Protocol(
                name=self.protocol_name,
                train=tuple(s for s in self._splits if s not in ("validation", "test")),
                validation=("validation",),
                test=("test",),
            ),
        )
        super().__init__(on_bad=on_bad)

    # What a subclass implements.

    @abc.abstractmethod
    def find(self, place: pathlib.Path) -> Files | None:
        """Returns the files of the data set in a place, or None without them."""

    @abc.abstractmethod
    def layout(self) -> Splits:
        """Returns the clips of every official split.

        Sets `classes` if they are read from the files.
        """

    def complete(self, splits: Splits) -> Splits:
        """Adds what is not official: by default, a missing validation split."""
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
                f"{self.dataset_name}: {len(train)} training clips leave none for "
                "validation; some class needs three or more"
            )
        return {**made, **{s: clips for s, clips in splits.items() if s != "train"}}

    # What a subclass uses.

    def index_of(self, name: str, where: str) -> int:
        """Returns the label of a class.

        Args:
            name: Name of the class.
            where: Place that names it, for the message.

        Raises:
            InputError: There is no such class.
        """
        if name not in self.classes:
            kind = f"class of {self.dataset_name}"
            raise unknown_name(kind, name, self.classes, where)
        return self.classes.index(name)

    def labels_of(self, names: Iterable[str], where: str) -> tuple[int, ...]:
        """Returns the labels of classes in ascending order, each once."""
        return tuple(sorted({self.index_of(name, where) for name in names}))

    def drop(self, why: str, count: int = 1) -> None:
        """Counts what is left out; the notes of the data set list the counts."""
        self.dropped[why] += count

    # What `ClipBuilder` asks for.

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {
            "data set": self.dataset_name,
            "longest": self.dataset_info.max_seconds,
            "splits": {
                split: [dataclasses.astuple(entry) for entry in entries]
                for split, entries in self._splits.items()
            },
            "files": self.files.stamp(entry.file for entry in self._all_entries()),
        }

    def entries(self) -> Mapping[str, Sequence[FileEntry]]:
        """See `ClipBuilder`."""
        if self.on_bad == "fail":
            names = [entry.file for entry in self._all_entries()]
            self.files.check_complete(names, self.dataset_name)
        if self.notes:
            inform(f"{self.dataset_name}: {'; '.join(self.notes)}", error=True)
        return self._splits

    def longest_known(self) -> float | None:
        """See `ClipBuilder`."""
        whole = self.dataset_info.max_seconds
        lengths = {entry.seconds or whole for entry in self._all_entries()}
        known = [seconds for seconds in lengths if seconds is not None]
        return max(known) if len(known) == len(lengths) else None

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        return {entry.id: entry.group for entry in self._all_entries() if entry.group}

    def read_clip(self, entry: FileEntry) -> tuple[Clip, str]:
        """See `ClipBuilder`."""
        waveform, rate, digest = self.read_waveform(entry)
        seconds = len(waveform) / rate
        clip = Clip(
            id=entry.id,
            waveform=waveform,
            sample_rate=rate,
            labels=entry.labels,
            # An event may extend beyond a clip that was cut.
            events=tuple(
                (c, onset, min(offset, seconds))
                for c, onset, offset in entry.events
                if onset < seconds
            ),
        )
        return clip, digest

    def read_waveform(
        self, entry: FileEntry
    ) -> tuple[Float32[np.ndarray, " S"], int, str]:
        """Reads a clip at the rate of its file.

        Returns:
            The waveform, shape `[S]`, its sample rate in Hz, and the SHA-256 of what
            determines it.
        """
        data = self.files.read(entry.file)
        where = self.files.where(entry.file)
        x, rate = self.decode(data, where)
        first = round(entry.start * rate)
        seconds = entry.seconds
        if seconds is None:
            seconds = self.dataset_info.max_seconds
        last = None if seconds is None else first + round(seconds * rate)
        if not len(x[first:last]):
            raise InputError(f"{where}: ends before second {entry.start:g}")
        digest = hashlib.sha256(data)
        if entry.start:
            digest.update(f" from {entry.start}".encode())
        return x[first:last], rate, digest.hexdigest()

    def _all_entries(self) -> list[FileEntry]:
        return [entry for entries in self._splits.values() for entry in entries]

    def _checked(self, splits: Splits) -> Splits:
        """Returns the splits without repeated clips and without lost files."""
        seen: set[str] = set()
        checked: Splits = {}
        for split, entries in splits.items():
            checked[split] = []
            for entry in entries:
                if entry.id in seen:
                    self.drop("rows name a clip again")
                else:
                    checked[split].append(entry)
                seen.add(entry.id)
        if self.may_lack_files:
            self._leave_out_lost_files(checked)
        if empty := [split for split, entries in checked.items() if not entries]:
            raise InputError(
                f"{self.dataset_name}: there are no clips for {', '.join(empty)}; give "
                f"{self.dataset_info.files}"
            )
        self._size_notes = [
            f"{split}: {len(checked[split]):,} of the official {size:,} clips"
            for split, size in self.official_sizes.items()
            if size and split in checked and size != len(checked[split])
        ]
        return checked

    def _leave_out_lost_files(self, splits: Splits) -> None:
        for split, entries in splits.items():
            lost = set(self.files.missing(entry.file for entry in entries))
            splits[split] = [entry for entry in entries if entry.file not in lost]
            if lost:
                self.drop(f"listed clips of {split} are not there", len(lost))

    def _notes(self) -> tuple[str, ...]:
        info = self.dataset_info
        notes = [*info.notes, *self.remarks]
        if info.layout == "assumed":
            notes.append(f"the layout of its files is assumed: {info.checked}")
        if len(self.classes) != info.classes:
            notes.append(f"{len(self.classes)} of the official {info.classes} classes")
        if info.max_seconds:
            notes.append(f"clips are cut to their first {info.max_seconds:g} s")
        notes += self._size_notes
        notes += [f"dropped: {n} {why}" for why, n in sorted(self.dropped.items())]
        return tuple(notes)
