"""Clips of a data set, made ready for an encoder ahead of it.

A grain pipeline over the data source: threads read, resample and cut, the order is
fixed, and an iterator can be stopped at any batch and taken up there (`get_state`,
`set_state`). Clips of different lengths share a batch only where `input_lengths` makes
their inputs equally long, and which these are depends on a clip alone. So only a few
shapes are ever compiled, and no clip changes the tokens of another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from unmute_jax.audio.resample import resample
from unmute_jax.datasets import Clip, Dataset
from unmute_jax.encoders import Encoder
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError

if TYPE_CHECKING:
    import grain


# Samples of an input, ascending, and (T, F) of its tokens.
InputLengths = dict[int, tuple[int, int]]

# Beyond this, threads wait for each other more than for the clips.
MAX_THREADS = 16
# Clips among which those of one length find each other, where there are several.
CLIPS_PER_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class WaveformBatch:
    """Clips whose inputs are equally long.

    Attributes:
        places: Where the clips are in their split.
        waveforms: At the encoder's rate, padded or cropped to the length of the input.
        lengths: Samples that belong to each clip.
        labels: One where the class is in the clip, else zero.
        clips: Per clip: its id and its events.
    """

    places: Int[np.ndarray, "B"]
    waveforms: Float[np.ndarray, "B S"]
    lengths: Int[np.ndarray, "B"]
    labels: UInt8[np.ndarray, "B C"]
    clips: list[dict[str, Any]]

    def padded(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms and lengths of `width` rows; the last clip fills the rest."""
        rows = np.minimum(np.arange(width), len(self.clips) - 1)
        return self.waveforms[rows], self.lengths[rows]


class PreparedClip(NamedTuple):
    """A clip at its place, its waveform as long as its input, and its own samples."""

    place: int
    clip: Clip
    waveform: Float[np.ndarray, " S"]
    length: int


def multi_hot_labels(
    clips: Sequence[Clip], dataset: Dataset
) -> UInt8[np.ndarray, "B C"]:
    """One where the class is in the clip, else zero."""
    labels = np.zeros((len(clips), len(dataset.classes)), np.uint8)
    for row, clip in zip(labels, clips, strict=True):
        row[list(clip.labels)] = 1
    return labels


def clip_records(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """What a token store keeps of each clip besides its labels."""
    return [{"id": clip.id, "events": clip.events} for clip in clips]


def input_lengths(
    encoder: Encoder, clip_seconds: float, count: int = 1
) -> InputLengths:
    """The lengths of inputs: that of the longest clip, its half, its quarter, ...

    A clip gets the shortest one that holds it and a time step more, so that its last
    step is there even where the clip fills a part of it; or the longest. Fewer than
    `count` are left where the encoder makes several of them equal.

    Args:
        encoder: Says how long an input must be for such a clip.
        clip_seconds: Of the longest clip.
        count: How many times the length is halved, and one.

    Returns:
        Samples, ascending, and the (T, F) of the tokens of such inputs.

    Raises:
        InputError: There is not even one, or the encoder takes no clips that short.
    """
    if count < 1:
        raise InputError(f"the number of input lengths must be at least 1, not {count}")
    seconds = [clip_seconds / 2**k for k in range(count)]
    found = {encoder.input_samples(s): encoder.grid(s) for s in seconds}
    return dict(sorted(found.items()))


def block_size(batch_size: int, lengths: InputLengths) -> int:
    """Clips in a row that batches are made of; no batch reaches beyond a block."""
    return batch_size if len(lengths) == 1 else max(batch_size, CLIPS_PER_BLOCK)


def waveform_batches(
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    batch_size: int,
    *,
    lengths: InputLengths,
    blocks: Iterable[int] | None = None,
    wanted: Callable[[range], bool] = lambda block: True,
) -> grain.IterDataset[WaveformBatch]:
    """The batches of a split, block after block.

    Within a block a batch leaves as soon as `batch_size` clips have the same length of
    input; what is left at its end leaves in smaller ones. So a batch is a function of
    the data and of the arguments, wherever one begins.

    Args:
        encoder: Which the waveforms are for.
        dataset: Its clips are read in their order.
        split: One of `dataset.splits`.
        batch_size: Clips of a batch.
        lengths: Of `input_lengths`.
        blocks: Which blocks of `block_size` clips, counted from the first clip; by
            default all, in order. Processes that share a split take different ones.
        wanted: Asked for the clips of a block, maybe more than once, when its turn has
            come; where it says no, the block is left out.
    """
    # Half a second; only a pass over audio needs it.
    import grain

    from unmute_jax.store.batching import Batched

    source, clips = dataset.source_of(split), dataset.splits[split]
    block = block_size(batch_size, lengths)
    step = round(encoder.geometry.seconds_per_step * encoder.sample_rate)

    def prepare(place: int) -> PreparedClip:
        clip = source[place]
        waveform = resample(clip.waveform, dataset.sample_rate, encoder.sample_rate)
        needed = len(waveform) + step
        fitting = next((n for n in lengths if n >= needed), max(lengths))
        clip_input = ClipInput(fitting)
        events = clip_input.events_of(clip.events, len(waveform), encoder.sample_rate)
        clip = replace(clip, events=events)
        return PreparedClip(place, clip, *clip_input.of_clip(waveform))

    def collate(items: Sequence[PreparedClip]) -> WaveformBatch:
        places, clips, waveforms, own = zip(*items, strict=True)
        return WaveformBatch(
            places=np.asarray(places),
            waveforms=np.stack(waveforms),
            lengths=np.asarray(own, np.int32),
            labels=multi_hot_labels(clips, dataset),
            clips=clip_records(clips),
        )

    def block_of(place: int) -> range:
        start = place // block * block
        return range(start, min(start + block, clips))

    if blocks is None:
        blocks = range(-(-clips // block))
    order = [i for b in blocks for i in block_of(b * block)]
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    ahead = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(threads, 2 * batch_size)
    )
    places = grain.MapDataset.source(order).filter(lambda i: wanted(block_of(i)))
    items = places.map(prepare).to_iter_dataset(ahead)
    groups = Batched(
        items,
        batch_size,
        group=lambda item: len(item.waveform),
        ends_block=lambda item: item.place + 1 == block_of(item.place).stop,
    )
    return groups.map(collate)
