"""Reads recordings of any length as overlapping windows, in bounded memory."""

from __future__ import annotations

import os
import pathlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from unmute_jax.audio.decode import SUFFIXES, AudioFile
from unmute_jax.audio.listing import check_name, describe, list_audio
from unmute_jax.audio.resample import resample_blocks
from unmute_jax.console import inform
from unmute_jax.encoders import Encoder
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.band import BandMeter

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class RecordingFile:
    """An audio file, and the name of its results.

    Attributes:
        path: The file.
        name: The path relative to the given folder, with forward slashes.
    """

    path: pathlib.Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Windowing:
    """How recordings are cut into windows.

    Attributes:
        sample_rate: The sample rate of the windows in Hz.
        samples: The length of a window in samples.
        hop: The number of samples from the start of one window to the next.
        min_samples: A shorter remainder at the end of a recording is left out.
        highest_hz: The upper end of the encoder's frequency band.
    """

    sample_rate: int
    samples: int
    hop: int
    min_samples: int
    highest_hz: float

    def count(self, samples: int) -> int:
        """The number of windows of a recording with a number of samples."""
        return 1 + max(0, -(-(samples - self.samples) // self.hop))

    def seconds(self, samples: int) -> float:
        """Converts samples to seconds."""
        return samples / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Window:
    """A window of a recording.

    Attributes:
        index: The position of the window in the recording, from 0.
        start: The start in seconds.
        end: The end in seconds.
        waveform: The samples. Only the last window of a recording may be shorter.
    """

    index: int
    start: float
    end: float
    waveform: Float[np.ndarray, " S"]


@dataclass(frozen=True, kw_only=True)
class RecordingEnd:
    """Facts about a recording that are known when it was read to its end.

    Attributes:
        seconds: The length of the recording.
        share_above: The share of its energy above the band of the encoder; None if its
            sample rate leaves no room for any.
        channels_cancel: Whether its channels cancel each other out in their average.
    """

    seconds: float
    share_above: float | None
    channels_cancel: bool


def make_windowing(
    encoder: Encoder, window_seconds: float, overlap: float
) -> Windowing:
    """Plans the windows for an encoder.

    Args:
        encoder: The encoder.
        window_seconds: The length of a window. The encoder may use less of it.
        overlap: The share of a window that overlaps with the next one.

    Raises:
        InputError: The overlap is not in [0, 1), or a window is shorter than a frame.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap={overlap:g}: must be at least 0 and below 1")
    # Samples that the encoder would cut off belong to the next window.
    samples = round(window_seconds * encoder.sample_rate)
    samples = len(encoder.clip_input(window_seconds).heard(samples))
    return Windowing(
        sample_rate=encoder.sample_rate,
        samples=samples,
        hop=max(1, round(samples * (1 - overlap))),
        min_samples=encoder.min_samples,
        highest_hz=encoder.geometry.frequency_edges_hz[-1][1],
    )


def find_recordings(
    places: Sequence[str | os.PathLike[str]],
    log: Callable[[str], None] = inform,
    *,
    expected: str = "",
) -> list[RecordingFile]:
    """Lists the given files, and all recordings in the given folders.

    Folders are listed as those of training are; see `unmute_jax.audio.listing`.

    Args:
        places: The files and folders.
        log: A function that is called with a line about what is left out of a folder.
        expected: The suffix of files that are not recordings but have another use, so
            that nothing is said about them.

    Raises:
        InputError: A folder contains no recording, two files share a name, or a name is
            not valid UTF-8.
    """
    recordings: list[RecordingFile] = []
    for place in map(pathlib.Path, places):
        if not place.is_dir():
            check_name(str(place))
            recordings.append(RecordingFile(path=place, name=place.name))
            continue
        listing = list_audio(place)
        if not listing.audio:
            there = describe(listing.left_out) or "it is empty"
            raise InputError(
                f"{place}: holds no recordings ({', '.join(SUFFIXES)}); {there}"
            )
        if left_out := [x for x in listing.left_out if x.reason != expected]:
            log(f"note: {place}: left out: {describe(left_out)}")
        recordings += [
            RecordingFile(path=place / name, name=name) for name in listing.audio
        ]
    names: dict[str, RecordingFile] = {}
    for one in recordings:
        if (other := names.setdefault(one.name, one)) is not one:
            raise InputError(
                f"{other.path} and {one.path} have the same name: give the folder that "
                "holds both, or one of them at a time"
            )
    return recordings


def read_windows(
    recording: RecordingFile, windowing: Windowing, *, first: int = 0
) -> Iterator[Window | RecordingEnd]:
    """Reads the windows of a recording.

    Args:
        recording: The recording.
        windowing: The cutting into windows.
        first: The index of the first window.

    Yields:
        The windows in order, and then the end.

    Raises:
        InputError: The file cannot be decoded, or is shorter than `min_samples`.
    """
    with AudioFile(recording.path) as file:
        meter = BandMeter(file.sample_rate, windowing.highest_hz)
        blocks = meter.measure(file.blocks())
        blocks = resample_blocks(blocks, file.sample_rate, windowing.sample_rate)
        samples = 0
        for index, (start, waveform) in enumerate(sliding_windows(blocks, windowing)):
            samples = start + len(waveform)
            if index >= first:
                yield Window(
                    index=index,
                    start=windowing.seconds(start),
                    end=windowing.seconds(samples),
                    waveform=waveform,
                )
        if not samples:
            shortest = windowing.seconds(windowing.min_samples)
            raise InputError(f"{recording.path}: is shorter than {shortest:g} s")
        yield RecordingEnd(
            seconds=windowing.seconds(samples),
            share_above=meter.share_above,
            channels_cancel=file.mix.cancels,
        )


def sliding_windows(
    blocks: Iterable[Float[np.ndarray, "_"]], windowing: Windowing
) -> Iterator[tuple[int, Float[np.ndarray, "_"]]]:
    """Cuts a waveform that comes in blocks into windows.

    All windows but the last have the full length; the last one ends with the waveform.
    Only about one window and one block are in memory at a time.

    Yields:
        The first sample of a window, and its waveform.
    """
    buffer, start, covered = np.empty(0, np.float32), 0, 0
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= windowing.samples:
            yield start, buffer[: windowing.samples].copy()
            covered = start + windowing.samples
            buffer, start = buffer[windowing.hop :], start + windowing.hop
    remaining = start + len(buffer) - covered
    if remaining > 0 and len(buffer) >= windowing.min_samples:
        yield start, buffer


def expected_windows(recording: RecordingFile, windowing: Windowing) -> int:
    """The number of windows according to the header; 0 if it cannot be read."""
    try:
        with AudioFile(recording.path) as file:
            return windowing.count(round(file.seconds * windowing.sample_rate))
    except InputError:
        return 0


def prefetch(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Iterates over `items`, which a thread computes up to `depth` items ahead."""
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    waiting = deque[Future](pool.submit(next, iterator, end) for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def pad_windows(
    windows: Sequence[Window], batch_size: int, clip_input: ClipInput
) -> tuple[Float[np.ndarray, "B S"], Int[np.ndarray, "B"]]:
    """Stacks windows to a batch of inputs of an encoder.

    Rows without a window repeat the last one.

    Returns:
        The inputs, and how many samples of each are not padding.
    """
    rows = [windows[min(row, len(windows) - 1)].waveform for row in range(batch_size)]
    waveforms, lengths = zip(*map(clip_input.of_clip, rows), strict=True)
    return np.stack(waveforms), np.asarray(lengths, np.int32)
