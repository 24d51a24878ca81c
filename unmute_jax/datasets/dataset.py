"""What a loaded data set is: clips, splits, and which split may be used for what."""

import dataclasses
import functools
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, SupportsIndex, overload

import numpy as np
from jaxtyping import Float32

from unmute_jax.errors import InputError, unknown_name

Task = Literal["multi-label", "single-label"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One recording.

    Attributes:
        id: Unique in its data set.
        waveform: `[S]`, mono, at the data set's sample rate.
        labels: Indices of the classes that are present, ascending.
        events: (class, onset, offset) in seconds, where the data set knows them.
    """

    id: str
    waveform: Float32[np.ndarray, " S"]
    labels: tuple[int, ...]
    events: tuple[tuple[int, float, float], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which splits train, which select, which are reported; none does two of these."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        used = (*self.train, *self.validation, *self.test)
        if shared := sorted({split for split in used if used.count(split) > 1}):
            raise InputError(
                f"protocol {self.name!r} uses {', '.join(shared)} more than once; "
                "train, validation and test must not share a split"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set that is ready to be read.

    Attributes:
        name: As in the registry.
        source: Which copy this is; reports name it.
        task: "multi-label" or "single-label".
        classes: Names, in the order of the label indices.
        sample_rate: Of the stored audio, in Hz.
        clip_seconds: Length of the longest clip.
        licence: Of the audio.
        citation: Whom to cite.
        notes: What a reader of the results must know, such as skipped clips.
        splits: Number of clips by split.
        fingerprints: SHA-256 of the content by split; see `fingerprint`.
        folder: Where the prepared records are.
        all_protocols: Every protocol of the data set, the default first.
        has_events: Whether onsets and offsets are known; see `events`.
        groups: Clip id -> what it shares with others (a recording, a site, a speaker),
            as far as that is known; clips of a group are not independent.
    """

    name: str
    source: str
    task: Task
    classes: tuple[str, ...]
    sample_rate: int
    clip_seconds: float
    licence: str
    citation: str
    notes: tuple[str, ...]
    splits: dict[str, int]
    fingerprints: dict[str, str]
    folder: pathlib.Path
    all_protocols: tuple[Protocol, ...]
    has_events: bool = False
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def fingerprint(self, split: str) -> str:
        """SHA-256 over the ids, labels, events and audio of a split, in their order.

        It is computed once, at preparation, from the bytes of the audio files (or from
        what determines a made clip), so it does not depend on where the files are or
        on the version of a decoder.
        """
        return self.fingerprints[self._known(split)]

    def source_of(self, split: str) -> "ClipSource":
        """The clips of a split, with random access."""
        return ClipSource(self.folder, self._known(split), self.splits[split])

    def ids(self, split: str) -> list[str]:
        """The ids of a split, in its order; its records are read for them."""
        return [clip.id for clip in self.source_of(split)]

    def events(self, split: str, row: int) -> tuple[tuple[int, float, float], ...]:
        """(class, onset, offset) in seconds of the events of a clip.

        None of a clip without labels: it is known to be silent. A label without an
        event was given to the clip as a whole: where it sounds is not known.

        Raises:
            InputError: This data set knows no onsets and offsets.
        """
        if not self.has_events:
            raise InputError(
                f"{self.name} has labels of whole clips, no onsets and offsets"
            )
        return self.source_of(split)[row].events

    def protocols(self, test_fold: int | None = None) -> tuple[Protocol, ...]:
        """The protocols to run.

        Args:
            test_fold: A fold, from 1; 0 asks for all of them, None for the default.
        """
        if test_fold is None:
            return self.all_protocols[:1]
        if test_fold == 0:
            return self.all_protocols
        folds = len(self.all_protocols)
        if folds == 1:
            raise InputError(f"{self.name} has one fixed split and no folds to test on")
        if not 1 <= test_fold <= folds:
            raise InputError(
                f"{self.name} has folds 1 to {folds} (0 for all), not {test_fold}"
            )
        return (self.all_protocols[test_fold - 1],)

    def _known(self, split: str) -> str:
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        return split


class ClipSource(Sequence[Clip]):
    """The clips of one split, read from array_record when they are asked for.

    It pickles as a path, so worker processes open files of their own.
    """

    def __init__(self, folder: pathlib.Path, split: str, length: int):
        self._folder = folder
        self._split = split
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: SupportsIndex) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Clip | list[Clip]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        i = operator.index(index)
        if not -self._length <= i < self._length:
            raise IndexError(f"clip {i} of {self._length}")
        record = self._records[i % self._length]
        return Clip(
            id=record["id"].decode(),
            waveform=record["audio"].astype(np.float32) / np.float32(32768),
            labels=tuple(int(label) for label in record["labels"]),
            events=tuple((int(c), float(a), float(b)) for c, a, b in record["events"]),
        )

    def __getstate__(self) -> tuple[pathlib.Path, str, int]:
        return self._folder, self._split, self._length

    def __setstate__(self, state: tuple[pathlib.Path, str, int]) -> None:
        self.__init__(*state)

    @functools.cached_property
    def _records(self) -> Sequence[dict[str, Any]]:
        from unmute_jax.datasets import base

        return base.records(self._folder, self._split)
