"""A loaded data set: its description, its splits, and which split serves for what."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

from unmute_jax.datasets.clips import ClipSource, Event
from unmute_jax.datasets.counting import NOT_PREPARED
from unmute_jax.errors import InputError, unknown_name

Task = Literal["multi-label", "single-label"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """The splits for training, for selection and for the test; all are different."""

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
    """A prepared data set.

    Attributes:
        name: Name of the data set, as `load_dataset` takes it.
        source: Description of the copy that was read; reports quote it.
        task: "multi-label" or "single-label".
        classes: Names of the classes, in the order of the label indices.
        sample_rates: Number of clips with each sample rate in Hz; every clip has the
            rate of its file.
        clip_seconds: Length of the longest clip in seconds.
        durations: For every split, the number of clips of each length in seconds, which
            is rounded to milliseconds. Empty where lengths are not known.
        licence: Licence of the audio.
        citation: Publication to cite.
        notes: Remarks that a reader of the results needs, such as skipped clips.
        splits: Number of clips in each split.
        fingerprints: SHA-256 of the content of each split; see `fingerprint`.
        folder: Folder of the prepared records.
        all_protocols: Every protocol of the data set, the default first.
        has_events: Whether onsets and offsets are known; see `events`.
        groups: Group of each clip, by clip id, where it is known: a recording, a site
            or a speaker. Clips of one group are not independent of each other.
        clips_per_class: Number of clips of all splits with each class. Empty where it
            is not known.
        listed_ids: The ids of the clips of each split, in order, if the data set is not
            prepared but its clips are listed somewhere.
    """

    name: str
    source: str
    task: Task
    classes: tuple[str, ...]
    sample_rates: Mapping[int, int]
    clip_seconds: float
    licence: str
    citation: str
    notes: tuple[str, ...]
    splits: dict[str, int]
    fingerprints: dict[str, str]
    folder: pathlib.Path
    all_protocols: tuple[Protocol, ...]
    has_events: bool = False
    durations: Mapping[str, Mapping[float, int]] = dataclasses.field(
        default_factory=dict[str, Mapping[float, int]]
    )
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    clips_per_class: Sequence[int] = ()
    listed_ids: Mapping[str, list[str]] = dataclasses.field(
        default_factory=dict[str, list[str]]
    )

    def fingerprint(self, split: str) -> str:
        """Returns the SHA-256 of the ids, labels, events and audio of a split.

        It is computed once, at preparation, from the bytes of the audio files (or from
        whatever determines a synthetic clip). So it depends neither on the place of the
        files nor on the version of a decoder.
        """
        return self.fingerprints[self._checked(split)]

    @property
    def is_prepared(self) -> bool:
        """Whether the clips can be read; others are only counted."""
        return NOT_PREPARED not in self.fingerprints.values()

    def source_of(self, split: str) -> ClipSource:
        """Returns the clips of a split, with random access."""
        return ClipSource(self.folder, self._checked(split), self.splits[split])

    def ids(self, split: str) -> list[str]:
        """Returns the ids of a split in order; this reads all of its records.

        Of a data set that is not prepared, they are those of its listing, if it has
        one, and otherwise none.
        """
        if not self.is_prepared:
            return self.listed_ids.get(self._checked(split), [])
        return [clip.id for clip in self.source_of(split)]

    def events(self, split: str, row: int) -> tuple[Event, ...]:
        """Returns the events of a clip, with onsets and offsets in seconds.

        A clip without labels has no events and is known to contain none of the classes.
        A label without an event was given to the clip as a whole, so it is not known
        when that class sounds.

        Args:
            split: Name of the split.
            row: Index of the clip in the split.

        Raises:
            InputError: The data set has no onsets and offsets.
        """
        if not self.has_events:
            raise InputError(
                f"{self.name} has labels of whole clips, no onsets and offsets"
            )
        return self.source_of(split)[row].events

    def protocols(self, test_fold: int | None = None) -> tuple[Protocol, ...]:
        """Returns the protocols to run.

        Args:
            test_fold: Number of the fold to test on, from 1; 0 asks for all protocols
                and None for the default one.

        Raises:
            InputError: There is no such fold. Data sets of one's own clips, whose folds
                are an option, refuse 0 as well if they have none.
        """
        if test_fold is None:
            return self.all_protocols[:1]
        folds, is_own = len(self.all_protocols), ":" in self.name
        # Who asks for all folds of several data sets may have some without folds. Those
        # of one's own clips must be asked for, so they would be missed.
        if test_fold == 0 and not (folds == 1 and is_own):
            return self.all_protocols
        if folds == 1:
            hint = "; dataset_options.folds makes folds" if is_own else ""
            raise InputError(
                f"{self.name} has one fixed split and no folds to test on{hint}"
            )
        if not 1 <= test_fold <= folds:
            raise InputError(
                f"{self.name} has folds 1 to {folds} (0 for all), not {test_fold}"
            )
        return (self.all_protocols[test_fold - 1],)

    def _checked(self, split: str) -> str:
        if split not in self.splits:
            raise unknown_name(f"split of {self.name}", split, self.splits)
        return split
