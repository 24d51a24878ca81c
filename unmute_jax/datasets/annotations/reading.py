"""Reads the annotations of recordings: text files beside them, or one table."""

from __future__ import annotations

import collections
import math
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from unmute_jax.audio.listing import list_audio
from unmute_jax.datasets.annotations import audacity, event_table, raven
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.matching import Matcher
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.tables import read_text
from unmute_jax.errors import InputError, one_line

# Suffix of the files that may be selection tables or label tracks.
SUFFIX = ".txt"


@dataclass(kw_only=True)
class Annotations:
    """The annotations that were found for a set of recordings.

    Attributes:
        events: The events of each annotated recording, by its name. A recording that
            is annotated and contains nothing has no events; one that is not annotated
            has no entry.
        groups: The group of a recording, where a table names it.
        splits: The split of a recording, where a table names it.
        lost: A message for each annotation whose recording is not there.
        notes: Remarks on what was read.
    """

    events: dict[str, list[SoundEvent]] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_annotations(
    place: pathlib.Path,
    recordings: Mapping[str, pathlib.Path],
    label_column: str = "",
) -> Annotations:
    """Reads the annotations of recordings.

    Args:
        place: A folder with selection tables of Raven or label tracks of Audacity, or
            one table of events (see `event_table`).
        recordings: The absolute paths of the recordings, by their names.
        label_column: The column with the labels in tables; empty for the usual ones.

    Raises:
        InputError: A file cannot be read as annotations, it is not clear to which
            recording one belongs, or annotations may be there twice.
    """
    if place.is_dir():
        return _FolderReader(place, recordings, label_column).found
    return _read_table(place, recordings, label_column)


def _read_table(
    place: pathlib.Path, recordings: Mapping[str, pathlib.Path], label_column: str
) -> Annotations:
    found, matcher = Annotations(), Matcher(recordings)
    text = read_text(Folder(place.parent), place.name, found.notes)
    for row in event_table.read(text, str(place), label_column):
        name = matcher.named(row.file, place.parent, row.where)
        if name is None:
            found.lost.append(
                f"{row.where}: there is no recording {one_line(row.file)}"
            )
            continue
        events = found.events.setdefault(name, [])
        if row.event is not None:
            events.append(row.event)
        for kind, column in (("group", found.groups), ("split", found.splits)):
            value: str = getattr(row, kind)
            if value and column.setdefault(name, value) != value:
                raise InputError(
                    f"{row.where}: {name} has the {kind} {value!r}, but "
                    f"{column[name]!r} in an earlier line"
                )
    return found


class _FolderReader:
    """Reads all selection tables and label tracks below a folder."""

    def __init__(
        self,
        place: pathlib.Path,
        recordings: Mapping[str, pathlib.Path],
        label_column: str,
    ):
        self.found = Annotations()
        self._matcher = Matcher(recordings)
        self._label_column = label_column
        self._label_columns: set[str] = set()
        # The files that annotate each recording, with their formats.
        self._sources = collections.defaultdict[str, dict[pathlib.Path, str]](dict)
        others: list[pathlib.Path] = []
        for file in list_audio(place).left_out:
            path = place / file.name
            if file.reason == SUFFIX and not self._read(path):
                others.append(path)
        self._check_sources()
        if lasting := sum(
            math.isinf(event.offset)
            for events in self.found.events.values()
            for event in events
        ):
            self.found.notes.append(
                f"events that go on in the next recording, where they have no label: "
                f"{lasting}"
            )
        if len(self._label_columns) > 1:
            listed = ", ".join(sorted(self._label_columns))
            self.found.notes.append(f"labels come from the columns {listed}")
        if others:
            self.found.notes.append(
                f"text files that are no annotations: {len(others)}, such as "
                f"{others[0].name}"
            )

    def _read(self, path: pathlib.Path) -> bool:
        """Reads a text file, and returns whether it contains annotations."""
        owner = self._matcher.annotated_by(path)
        notes: list[str] = []
        try:
            text = read_text(Folder(path.parent), path.name, notes)
        except InputError:
            if owner is None:
                return False
            raise
        if raven.is_selection_table(text):
            events, column = raven.read(text, str(path), self._label_column)
            self._label_columns |= {column} - {""}
            kind = "Raven"
        elif audacity.is_label_track(text) and (owner or text):
            events, kind = audacity.read(text, str(path)), "Audacity"
        elif owner is None:
            return False
        else:
            raise InputError(
                f"{path}: is named like the recording {owner}, but is neither a "
                "selection table of Raven nor a label track of Audacity"
            )
        self.found.notes += notes
        by_file = collections.defaultdict[str, list[SoundEvent]](list)
        for event in events:
            by_file[event.file].append(event)
        # A table without a row says that its recording contains nothing.
        for named, of_file in by_file.items() or [("", [])]:
            name = owner
            if named:
                name = self._matcher.named(named, path.parent, str(path))
            if name is None:
                what = one_line(named) or "with this name"
                self.found.lost.append(f"{path}: there is no recording {what}")
                continue
            self.found.events.setdefault(name, []).extend(of_file)
            self._sources[name][path] = kind
        return True

    def _check_sources(self) -> None:
        """Refuses recordings whose annotations may be there twice."""
        for name, kinds in self._sources.items():
            one, *others = kinds
            for other in others:
                if (kinds[one], one.parent) != (kinds[other], other.parent):
                    raise InputError(
                        f"{name} has annotations in {one} and in {other}: keep one of "
                        "them, or name the folder that holds one of them"
                    )
        if several := [name for name, kinds in self._sources.items() if len(kinds) > 1]:
            self.found.notes.append(
                "recordings with several files of annotations, which are joined: "
                f"{len(several)}, such as {several[0]}"
            )
