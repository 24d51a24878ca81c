"""A data set of the windows of annotated recordings.

`annotations:FOLDER`: the recordings below a folder, with selection tables of Raven or
label tracks of Audacity beside them or in a folder of their own (see `matching`).

`annotations:TABLE.csv`: one table of the events of all recordings (see `event_table`).
Its files are relative to the table, or anywhere below `data_dir`.

Every recording is cut into windows, and a window has the labels of the events that it
contains (see `windows.Cut`). Windows of one site never are in two splits. The site of a
recording is that of the table, the first sub-folder that tells recordings apart, or
else the recording itself.

Whatever is not annotated counts as background. In a recording that was annotated in
part, this teaches that the class is absent where it sounds, so such recordings must be
left out or shortened to the part that was annotated.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from unmute_jax.audio.decode import SUFFIXES
from unmute_jax.audio.listing import list_audio
from unmute_jax.console import inform
from unmute_jax.datasets.annotations import event_table
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.plan import WindowEntry, plan_windows
from unmute_jax.datasets.annotations.reading import Annotations, read_annotations
from unmute_jax.datasets.annotations.sites import sites_of
from unmute_jax.datasets.annotations.species import map_labels, read_species_list
from unmute_jax.datasets.annotations.stream import RecordingStream
from unmute_jax.datasets.annotations.windows import Cut
from unmute_jax.datasets.base import ClipBuilder, OnBad
from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.division import divide
from unmute_jax.datasets.files import Folder
from unmute_jax.datasets.names import notes_on_similar
from unmute_jax.datasets.tables import read_text
from unmute_jax.errors import InputError, unknown_name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `annotations:` data sets; `config.DatasetOptions` explains them."""

    cut: Cut
    background: float | None
    unlisted: str
    unannotated: str
    species_list: str
    label_column: str
    group_pattern: str
    folds: str | int


class AnnotatedRecordings(ClipBuilder):
    """Builder of the windows of annotated recordings.

    Args:
        place: Folder of the recordings and their annotations, or a table of events.
        root: Folder of the recordings.
        options: The options.
        on_bad: Treatment of unreadable recordings, and of annotations whose recordings
            are not there; see `load_dataset`.
    """

    VERSION = tfds.core.Version("1.0.0")
    licence = "that of your recordings"
    citation = ""
    task = "multi-label"

    def __init__(
        self,
        place: pathlib.Path,
        root: pathlib.Path,
        options: Options,
        *,
        on_bad: OnBad,
    ):
        self.dataset_name = (
            f"annotations:{place.stem if place.is_file() else place.name}"
        )
        self.source = f"your own annotated recordings ({self.dataset_name})"
        self._place, self._root, self._options = place, root, options
        self._skips = on_bad == "skip"
        self._stream: RecordingStream | None = None
        self._broken: dict[str, InputError] = {}
        self._notes: list[str] = []
        self._files = Folder(root)
        annotations = self._annotations()
        events = self._with_classes(annotations)
        self.classes = tuple(sorted({e.label for es in events.values() for e in es}))
        if not self.classes:
            raise InputError(f"{place}: its annotations contain no event")
        windows, notes = plan_windows(
            self._files, events, options.cut, options.background, skips=self._skips
        )
        self._notes += notes
        names = sorted({entry.file for entry in windows})
        sites = sites_of(names, options.group_pattern, str(place))
        group_of = {**sites, **annotations.groups}
        division = divide(
            [entry.id for entry in windows],
            [self._labels(entry) for entry in windows],
            classes=self.classes,
            where=str(place),
            given=[annotations.splits.get(entry.file, "") for entry in windows],
            groups=[group_of[entry.file] for entry in windows],
            folds=options.folds,
        )
        self._splits = {
            split: [windows[i] for i in rows] for split, rows in division.rows.items()
        }
        self._groups = {entry.id: group_of[entry.file] for entry in windows}
        self.protocols = division.protocols
        self._notes += [*division.notes, *notes_on_similar(self.classes)]
        self.notes = tuple(self._notes)
        super().__init__(on_bad=on_bad)

    def identity(self) -> dict[str, Any]:
        """See `ClipBuilder`."""
        return {
            "name": self.dataset_name,
            "splits": {
                split: [dataclasses.astuple(entry) for entry in entries]
                for split, entries in self._splits.items()
            },
            "files": self._files.stamp(self._recordings()),
        }

    def entries(self) -> Mapping[str, Sequence[WindowEntry]]:
        """See `ClipBuilder`."""
        if self.notes:
            inform(f"{self.dataset_name}: {'; '.join(self.notes)}", error=True)
        return self._splits

    def longest_known(self) -> float:
        """See `ClipBuilder`."""
        return self._options.cut.window

    def groups(self) -> Mapping[str, str]:
        """See `ClipBuilder`."""
        return self._groups

    def read_clip(self, entry: WindowEntry) -> tuple[Clip, str]:
        """Reads a window; the windows of a recording are read in one pass."""
        if entry.file in self._broken:
            raise self._broken[entry.file]
        try:
            stream = self._stream_of(entry)
            waveform = stream.read(entry.start, entry.end)
            if entry.is_last:
                stream.finish(entry.samples)
                self.count_mix(stream.mix, entry.file)
                self._stream = None
        except InputError as error:
            self._broken[entry.file] = error
            self._close_stream()
            raise
        clip = Clip(
            id=entry.id,
            waveform=waveform,
            sample_rate=stream.sample_rate,
            labels=tuple(self._labels(entry)),
            events=tuple(
                (self.classes.index(name), onset, offset)
                for name, onset, offset in entry.events
            ),
        )
        return clip, f"{stream.digest} from {entry.start} to {entry.end}"

    def _stream_of(self, entry: WindowEntry) -> RecordingStream:
        path, stream = self._files.path(entry.file), self._stream
        if stream is None or stream.path != path or stream.position > entry.start:
            self._close_stream()
            self._stream = stream = RecordingStream(path)
        return stream

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # What is done when the data set is opened, before its audio is read.

    def _annotations(self) -> Annotations:
        """Finds the recordings, and reads the annotations of each."""
        recordings = {name: self._files.path(name) for name in self._candidates()}
        found = read_annotations(self._place, recordings, self._options.label_column)
        self._notes += found.notes
        if found.lost and not self._skips:
            raise InputError(
                f"{found.lost[0]} (of {len(found.lost)} such annotations); data_dir "
                "names another folder of recordings, on_bad='skip' leaves them out "
                "(--config.audio.on_bad=skip)"
            )
        if found.lost:
            self._notes.append(
                f"annotations of recordings that are not there: {len(found.lost)}"
            )
        if self._place.is_dir():
            self._treat_unannotated(found, sorted(recordings))
        return found

    def _candidates(self) -> Iterable[str]:
        """Returns the recordings that may be annotated, as paths from the root."""
        if self._place.is_file() and self._root == self._place.parent:
            # Only those that the table names, as its folder may be a large one.
            text = read_text(Folder(self._root), self._place.name)
            rows = event_table.read(text, str(self._place), self._options.label_column)
            named = {os.path.normpath(row.file.replace("\\", "/")) for row in rows}
            return named.difference(self._files.missing(sorted(named)))
        audio = list_audio(self._root).audio
        if not audio:
            raise InputError(
                f"{self._root}: holds no recordings ({', '.join(SUFFIXES)})"
            )
        return audio

    def _treat_unannotated(self, found: Annotations, recordings: list[str]) -> None:
        without = [name for name in recordings if name not in found.events]
        if not without:
            return
        some = f"{len(without)} of {len(recordings)} recordings"
        if not found.events:
            stem = pathlib.PurePath(without[0]).stem
            raise InputError(
                f"{self._place}: there are no selection tables or label tracks named "
                f"like its recordings, such as {stem}.txt; a table of events is named "
                "itself: annotations:FOLDER/TABLE.csv"
            )
        if self._options.unannotated == "fail":
            raise InputError(
                f"{self._place}: {some} have no annotations, the first is "
                f"{without[0]}; dataset_options.unannotated=skip leaves them out, and "
                "=background says that they contain no event"
            )
        if self._options.unannotated == "background":
            found.events.update({name: [] for name in without})
            self._notes.append(f"without annotations, taken as background: {some}")
        else:
            self._notes.append(f"without annotations, left out: {some}")

    def _with_classes(self, annotations: Annotations) -> dict[str, list[SoundEvent]]:
        """Replaces labels by classes."""
        path = self._options.species_list
        events, notes = map_labels(
            annotations.events,
            read_species_list(path) if path else None,
            self._options.unlisted,
        )
        self._notes += notes
        if points := sum(e.onset == e.offset for es in events.values() for e in es):
            self._notes.append(
                "events that are points, which config.labels=frames cannot use: "
                f"{points}"
            )
        self.has_events = not points
        return events

    def _labels(self, entry: WindowEntry) -> list[int]:
        return sorted({self.classes.index(name) for name, *_ in entry.events})

    def _recordings(self) -> list[str]:
        return sorted({e.file for entries in self._splits.values() for e in entries})


def annotated(
    place: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_bad: OnBad = "fail",
    *,
    window: float = 5.0,
    hop: float | None = None,
    min_overlap: float = 0.25,
    background: float | None = None,
    label_column: str = "",
    species_list: str = "",
    unlisted: str = "fail",
    unannotated: str = "fail",
    group_pattern: str = "",
    folds: str | int = "",
) -> AnnotatedRecordings:
    """Makes the builder of annotated recordings.

    Args:
        place: Path of the folder, or of the table.
        data_dir: Folder of the recordings, where it is not that of the annotations.
        on_bad: Treatment of unreadable recordings, and of annotations whose recordings
            are not there; see `load_dataset`.
        window: Length of a window in seconds.
        hop: Seconds from the beginning of one window to that of the next; None for the
            length of a window.
        min_overlap: Seconds of an event that a window must contain for its label to
            count; half of the event or of the window if that is less.
        background: Windows without a label for each labelled one; None for all.
        label_column: Column with the labels; empty for the usual names.
        species_list: Path of a csv with the columns name and class; empty to take the
            labels as classes.
        unlisted: Treatment of events without a label, and of those whose label is not
            in the species list: "fail" or "skip".
        unannotated: Treatment of recordings without annotations: "fail", "skip", or
            "background" if they are known to contain no event.
        group_pattern: Regular expression that finds the site in the name of a
            recording; see `sites.sites_of`.
        folds: "groups" to leave out one site at a time, or a number of folds; see
            `division.divide`.
    """
    path = pathlib.Path(place).expanduser().absolute()
    if not path.exists():
        raise InputError(f"{path}: there is no such folder or table of annotations")
    root = path if path.is_dir() else path.parent
    if data_dir is not None:
        root = pathlib.Path(data_dir).expanduser().absolute()
    for name, value, known in (
        ("unlisted", unlisted, ("fail", "skip")),
        ("unannotated", unannotated, ("fail", "skip", "background")),
    ):
        if value not in known:
            raise unknown_name(f"dataset_options.{name}", value, known)
    if background is not None and background < 0:
        raise InputError(
            f"dataset_options.background={background:g}: must be at least 0"
        )
    options = Options(
        cut=Cut(
            window=window,
            hop=window if hop is None else hop,
            min_overlap=min_overlap,
        ),
        background=background,
        unlisted=unlisted,
        unannotated=unannotated,
        species_list=species_list,
        label_column=label_column,
        group_pattern=group_pattern,
        folds=folds,
    )
    return AnnotatedRecordings(path, root, options, on_bad=on_bad)
