"""Recordings of any length, cut into overlapping windows, in bounded memory."""

from __future__ import annotations

import os
import pathlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from unmute_jax.audio.decode import SUFFIXES, AudioFile
from unmute_jax.audio.resample import resample_blocks
from unmute_jax.encoders import Encoder
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.band import BandMeter

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An audio file, and what its results are called.

    Attributes:
        path: The file.
        name: Relative to the folder that was given; forward slashes.
    """

    path: pathlib.Path
    name: str


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How recordings are cut.

    Attributes:
        sample_rate: Of the windows, in Hz.
        samples: Length of a window.
        hop: Samples from the start of one window to that of the next.
        least: A rest at the end that is shorter than this is left out.
        highest_hz: Upper end of the band that is listened to.
    """

    sample_rate: int
    samples: int
    hop: int
    least: int
    highest_hz: float

    def count(self, samples: int) -> int:
        """How many windows a recording of so many samples has."""
        return 1 + max(0, -(-(samples - self.samples) // self.hop))

    def seconds(self, samples: int) -> float:
        """Samples as seconds."""
        return samples / self.sample_rate


@dataclass(frozen=True, kw_only=True)
class Window:
    """A piece of a recording.

    Attributes:
        index: Its number in the recording, from 0.
        start: In seconds; `end` likewise.
        waveform: `[S]`, shorter than a window only at the end of the recording.
    """

    index: int
    start: float
    end: float
    waveform: Float[np.ndarray, " S"]


@dataclass(frozen=True, kw_only=True)
class End:
    """A recording has been read to its end.

    Attributes:
        seconds: Its length.
        above: Share of its energy above the band; None where it can hold none there.
    """

    seconds: float
    above: float | None


def cut_of(encoder: Encoder, window_seconds: float, overlap: float) -> Cut:
    """How recordings are cut for an encoder.

    Args:
        encoder: Who hears the windows.
        window_seconds: Length of a window; the encoder may take less.
        overlap: Share of a window that the next one covers again.

    Raises:
        InputError: The overlap is no such share, or a window holds no frame.
    """
    if not 0 <= overlap < 1:
        raise InputError(f"overlap={overlap:g}: must be at least 0 and below 1")
    # What the encoder would cut off is left to the next window.
    whole = round(window_seconds * encoder.sample_rate)
    samples = len(encoder.clip_input(window_seconds).heard(whole))
    return Cut(
        sample_rate=encoder.sample_rate,
        samples=samples,
        hop=max(1, round(samples * (1 - overlap))),
        least=encoder.min_samples,
        highest_hz=encoder.geometry.frequency_edges_hz[-1][1],
    )


def find_recordings(places: Sequence[str | os.PathLike[str]]) -> list[Recording]:
    """The given files, and all recordings below the given folders, in order.

    Raises:
        InputError: A folder holds none, or two files would share a name.
    """
    found: list[Recording] = []
    for place in map(pathlib.Path, places):
        if not place.is_dir():
            found.append(Recording(path=place, name=place.name))
            continue
        files = [p for p in sorted(place.rglob("*")) if _is_audio(p)]
        if not files:
            kinds = ", ".join(SUFFIXES)
            raise InputError(f"{place}: holds no recordings ({kinds})")
        found += [
            Recording(path=p, name=p.relative_to(place).as_posix()) for p in files
        ]
    names: dict[str, Recording] = {}
    for one in found:
        if (other := names.setdefault(one.name, one)) is not one:
            raise InputError(
                f"{other.path} and {one.path} have the same name: give the folder that "
                "holds both, or one of them at a time"
            )
    return found


def read_windows(
    recording: Recording, cut: Cut, *, first: int = 0
) -> Iterator[Window | End]:
    """The windows of a recording from number `first` on, and then its `End`.

    Raises:
        InputError: The file is bad, or shorter than `cut.least`.
    """
    with AudioFile(recording.path) as file:
        meter = BandMeter(file.sample_rate, cut.highest_hz)
        blocks = meter.watch(file.blocks())
        blocks = resample_blocks(blocks, file.sample_rate, cut.sample_rate)
        samples = 0
        for index, (start, waveform) in enumerate(slide(blocks, cut)):
            samples = start + len(waveform)
            if index >= first:
                yield Window(
                    index=index,
                    start=cut.seconds(start),
                    end=cut.seconds(samples),
                    waveform=waveform,
                )
        if not samples:
            shortest = cut.seconds(cut.least)
            raise InputError(f"{recording.path}: is shorter than {shortest:g} s")
        yield End(seconds=cut.seconds(samples), above=meter.share_above)


def slide(
    blocks: Iterable[Float[np.ndarray, "_"]], cut: Cut
) -> Iterator[tuple[int, Float[np.ndarray, "_"]]]:
    """First sample and samples of each window of a waveform that comes in blocks.

    Every window but the last is whole; the last one ends where the waveform does.
    Nothing but the samples of about one window and one block is held.
    """
    held, start, covered = np.empty(0, np.float32), 0, 0
    for block in blocks:
        held = np.concatenate([held, block])
        # A window that is whole by now may still turn out to be the last one.
        while len(held) >= cut.samples:
            yield start, held[: cut.samples].copy()
            covered = start + cut.samples
            held, start = held[cut.hop :], start + cut.hop
    fresh = start + len(held) - covered
    if fresh > 0 and len(held) >= cut.least:
        yield start, held


def expected_windows(recording: Recording, cut: Cut) -> int:
    """How many windows there will be, by the header; 0 where it cannot be read."""
    try:
        with AudioFile(recording.path) as file:
            return cut.count(round(file.seconds * cut.sample_rate))
    except InputError:
        return 0


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """`items`, made by a thread while the caller works on earlier ones."""
    iterator, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    waiting = deque[Future](pool.submit(next, iterator, end) for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, iterator, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)


def _is_audio(path: pathlib.Path) -> bool:
    # Names with a leading dot are what some systems leave beside their files.
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named and path.is_file()


def padded(
    windows: Sequence[Window], width: int, clip_input: ClipInput
) -> tuple[Float[np.ndarray, "B S"], np.ndarray]:
    """Waveforms `[width, samples]` with zeros behind, and their lengths.

    Rows without a window repeat the last one.
    """
    rows = [windows[min(row, len(windows) - 1)].waveform for row in range(width)]
    waveforms, lengths = zip(*map(clip_input.of_clip, rows), strict=True)
    return np.stack(waveforms), np.asarray(lengths, np.int32)
