"""Clips of a prepared data set: what they hold, how they are stored and read."""

import contextlib
import dataclasses
import functools
import operator
import pathlib
from collections.abc import Generator, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
from absl import logging
from jaxtyping import Float32, Int16

# A class, its onset and its offset in seconds.
Event = tuple[int, float, float]

# Scale of samples of 16 bits.
_SCALE = 32768
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One clip of a data set.

    Attributes:
        id: Name that is unique in the data set.
        waveform: Mono audio as it was decoded, shape `[S]`. Samples beyond [-1, 1] are
            kept.
        sample_rate: Sample rate of the waveform in Hz; that of the clip's file, so it
            may differ from clip to clip.
        labels: Indices of the classes that are present, in ascending order.
        events: Classes with their onsets and offsets in seconds, where the data set
            knows them.
    """

    id: str
    waveform: Float32[np.ndarray, " S"]
    sample_rate: int
    labels: tuple[int, ...]
    events: tuple[Event, ...] = ()


def as_16_bits(x: Float32[np.ndarray, " S"]) -> Int16[np.ndarray, " S"] | None:
    """Returns the samples of a waveform as integers, if 16 bits hold them exactly."""
    if not (x.min(initial=0.0) >= -1 and x.max(initial=0.0) < 1):
        return None
    integers = np.empty(len(x), np.int16)
    # In blocks, because a clip may last for hours.
    for i in range(0, len(x), _BLOCK):
        steps = x[i : i + _BLOCK] * np.float32(_SCALE)
        integers[i : i + _BLOCK] = steps
        if not np.array_equal(integers[i : i + _BLOCK], steps):
            return None
    return integers


def round_to_16_bits(x: Float32[np.ndarray, " S"]) -> Float32[np.ndarray, " S"]:
    """Returns the nearest waveform whose samples 16 bits hold exactly."""
    steps = np.clip(np.rint(x * _SCALE), -_SCALE, _SCALE - 1)
    return (steps / _SCALE).astype(np.float32)


def to_record(clip: Clip) -> dict[str, Any]:
    """Turns a clip into the record that is stored; `from_record` returns the same clip.

    Samples that 16 bits hold exactly, as those of nearly all originals, are stored as
    integers of 16 bits, which take half the space of floats.
    """
    integers = as_16_bits(clip.waveform)
    return {
        "id": clip.id,
        "sample_rate": clip.sample_rate,
        "integers": np.empty(0, np.int16) if integers is None else integers,
        "floats": clip.waveform if integers is None else np.empty(0, np.float32),
        "labels": list(clip.labels),
        "events": np.asarray(clip.events, np.float64).reshape(-1, 3),
    }


def from_record(record: dict[str, Any]) -> Clip:
    """Turns a stored record back into a clip."""
    waveform = record["floats"]
    if not len(waveform):
        waveform = record["integers"].astype(np.float32) / np.float32(_SCALE)
    return Clip(
        id=record["id"].decode(),
        waveform=waveform,
        sample_rate=int(record["sample_rate"]),
        labels=tuple(int(label) for label in record["labels"]),
        events=tuple((int(c), float(a), float(b)) for c, a, b in record["events"]),
    )


class ClipSource(Sequence[Clip]):
    """The clips of one split, read from array_record when they are asked for.

    A pickled source holds only the path, so each worker process opens its own files.

    Args:
        folder: Folder of the prepared data set.
        split: Name of the split.
        length: Number of its clips.
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
        return from_record(self._records[i % self._length])

    def __getstate__(self) -> tuple[pathlib.Path, str, int]:
        return self._folder, self._split, self._length

    def __setstate__(self, state: tuple[pathlib.Path, str, int]) -> None:
        self.__init__(*state)

    @functools.cached_property
    def _records(self) -> Sequence[dict[str, Any]]:
        # TFDS takes half a second to import, so it waits for the first clip.
        import tensorflow_datasets as tfds

        with quiet_tfds():
            builder: Any = tfds.builder_from_directory(self._folder)
            return builder.as_data_source(split=self._split)


@contextlib.contextmanager
def quiet_tfds() -> Generator[None, None, None]:
    """Keeps TFDS from logging its every step."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
