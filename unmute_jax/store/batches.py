"""Reads the clips of a data set and batches their waveforms for an encoder.

Threads decode, resample and cut clips ahead of the encoder, in a fixed order. Clips of
different lengths share a batch only if `input_lengths` gives them inputs of the same
length, which depends on the clip alone. So only a few shapes are ever compiled, and no
clip changes the tokens of another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from unmute_jax.audio.resample import resample
from unmute_jax.datasets import Clip, Dataset
from unmute_jax.encoders import Encoder
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError
from unmute_jax.store.prefetch import map_ahead

# Lengths of inputs in samples, ascending, and the token grid (T, F) of such inputs.
InputLengths = dict[int, tuple[int, int]]

# With more threads, they wait for each other more than for clips.
MAX_THREADS = 16
# Memory for the clips that the threads work on; recordings of hours have fewer threads.
MAX_BYTES = 4 * 2**30
# Number of consecutive clips that are sorted by length of input, if there are several.
CLIPS_PER_BLOCK = 256
NO_SAMPLES = np.empty(0, np.float32)


@dataclass(frozen=True, kw_only=True)
class WaveformBatch:
    """Clips whose inputs are equally long.

    Attributes:
        indices: Indices of the clips in their split.
        waveforms: Waveforms at the encoder's sample rate, padded or cropped to the
            length of the input.
        lengths: Number of samples that belong to each clip.
        labels: One where the class is in the clip, zero elsewhere.
        clips: The id and the events of each clip.
    """

    indices: Int[np.ndarray, "B"]
    waveforms: Float[np.ndarray, "B S"]
    lengths: Int[np.ndarray, "B"]
    labels: UInt8[np.ndarray, "B C"]
    clips: list[dict[str, Any]]

    def padded(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns waveforms and lengths of `width` rows, repeating the last clip."""
        rows = np.minimum(np.arange(width), len(self.clips) - 1)
        return self.waveforms[rows], self.lengths[rows]


class PreparedClip(NamedTuple):
    """A clip and its input.

    Attributes:
        position: Index of the clip in its split.
        clip: The clip without its waveform, its events timed from the start of the
            input.
        waveform: Input of the encoder, at its sample rate.
        length: Number of samples of the input that belong to the clip.
    """

    position: int
    clip: Clip
    waveform: Float[np.ndarray, " S"]
    length: int


def multi_hot_labels(
    clips: Sequence[Clip], dataset: Dataset
) -> UInt8[np.ndarray, "B C"]:
    """Returns one where the class is in the clip, zero elsewhere."""
    labels = np.zeros((len(clips), len(dataset.classes)), np.uint8)
    for row, clip in zip(labels, clips, strict=True):
        row[list(clip.labels)] = 1
    return labels


def clip_records(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """Returns what a token store holds of each clip besides labels and tokens."""
    return [{"id": clip.id, "events": clip.events} for clip in clips]


def default_batch_size() -> int:
    """Returns the default number of clips per step.

    On a CPU the batch must fit in the cache, on other devices it must fill the device.
    The number depends on the kind of device alone, never on how many there are. On two
    CPU cores EAT-base took 0.89 s per clip with 2 clips, 0.99 s with 4 and 1.11 s
    with 8.
    """
    return 2 if jax.default_backend() == "cpu" else 32


def input_lengths(
    encoder: Encoder, clip_seconds: float, count: int = 1
) -> InputLengths:
    """Returns the lengths of inputs: that of the longest clip, its half, its quarter...

    A clip gets the shortest input that holds it and one time step more, so that its
    last step is there even if the clip fills only a part of it; or else the longest
    input. There are fewer than `count` lengths if the encoder makes several of them
    equal.

    Args:
        encoder: The encoder, which decides how long the input for a clip is.
        clip_seconds: Duration of the longest clip.
        count: Number of lengths, at least 1.

    Raises:
        InputError: If `count` is below 1 or the encoder takes no clips that short.
    """
    if count < 1:
        raise InputError(f"the number of input lengths must be at least 1, not {count}")
    seconds = [clip_seconds / 2**k for k in range(count)]
    lengths = {encoder.input_samples(s): encoder.grid(s) for s in seconds}
    return dict(sorted(lengths.items()))


def prepare_clip(
    encoder: Encoder, clip: Clip, position: int, lengths: InputLengths
) -> PreparedClip:
    """Resamples a clip and fits it to the input of an encoder.

    Args:
        encoder: The encoder.
        clip: The clip.
        position: Index of the clip in its split.
        lengths: Lengths of inputs, as returned by `input_lengths`.
    """
    waveform = resample(clip.waveform, clip.sample_rate, encoder.sample_rate)
    step = round(encoder.geometry.seconds_per_step * encoder.sample_rate)
    needed = len(waveform) + step
    clip_input = ClipInput(next((n for n in lengths if n >= needed), max(lengths)))
    events = clip_input.events_of(clip.events, len(waveform), encoder.sample_rate)
    # Many prepared clips wait for their batch, and each may last for hours.
    clip = replace(clip, events=events, waveform=NO_SAMPLES)
    return PreparedClip(position, clip, *clip_input.of_clip(waveform))


def block_size(batch_size: int, lengths: InputLengths) -> int:
    """Returns the number of consecutive clips in a block. No batch spans two blocks."""
    return batch_size if len(lengths) == 1 else max(batch_size, CLIPS_PER_BLOCK)


def _threads_for(dataset: Dataset) -> int:
    """Returns how many threads may each hold the longest clip."""
    # The record, the waveform and the resampled waveform, of at most 4 bytes a sample.
    size = 12 * dataset.clip_seconds * max(dataset.sample_rates, default=1)
    return max(1, int(MAX_BYTES / size))


def waveform_batches(
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    batch_size: int,
    *,
    lengths: InputLengths,
    blocks: Iterable[int] | None = None,
    is_needed: Callable[[range], bool] = lambda block: True,
) -> Generator[WaveformBatch]:
    """Yields the batches of a split, block after block.

    Within a block, a batch is complete as soon as `batch_size` clips have inputs of
    the same length. At the end of the block the remaining clips form smaller batches.
    The batches of a block therefore depend on the arguments alone, not on which blocks
    came before.

    Args:
        encoder: Encoder for which the waveforms are prepared.
        dataset: Data set whose clips are read, in their order.
        split: One of `dataset.splits`.
        batch_size: Number of clips in a full batch.
        lengths: Lengths of inputs, as returned by `input_lengths`.
        blocks: Indices of the blocks of `block_size` clips to read, counted from the
            first clip; by default all, in order.
        is_needed: Called with the clips of a block shortly before they are read. The
            block is skipped if it returns False.
    """
    source, num_clips = dataset.source_of(split), dataset.splits[split]
    size = block_size(batch_size, lengths)

    def clips_of(block: int) -> range:
        return range(block * size, min((block + 1) * size, num_clips))

    def prepare(index: int) -> PreparedClip:
        return prepare_clip(encoder, source[index], index, lengths)

    def collate(prepared: Sequence[PreparedClip]) -> WaveformBatch:
        indices, clips, waveforms, real_lengths = zip(*prepared, strict=True)
        return WaveformBatch(
            indices=np.asarray(indices),
            waveforms=np.stack(waveforms),
            lengths=np.asarray(real_lengths, np.int32),
            labels=multi_hot_labels(clips, dataset),
            clips=clip_records(clips),
        )

    if blocks is None:
        blocks = range(-(-num_clips // size))
    needed = (index for b in blocks if is_needed(clips_of(b)) for index in clips_of(b))
    threads = min(MAX_THREADS, os.cpu_count() or 1, _threads_for(dataset))
    ahead = max(threads, 2 * batch_size)
    waiting: dict[int, list[PreparedClip]] = {}
    for item in map_ahead(prepare, needed, threads=threads, ahead=ahead):
        length = len(item.waveform)
        waiting.setdefault(length, []).append(item)
        if len(waiting[length]) == batch_size:
            yield collate(waiting.pop(length))
        if item.position == clips_of(item.position // size)[-1]:
            yield from map(collate, waiting.values())
            waiting.clear()
