"""Clips of a data set, made ready for an encoder ahead of it.

Threads read, resample and cut; the order is fixed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from unmute_jax.audio import pad_or_crop, resample
from unmute_jax.datasets import Clip, Dataset
from unmute_jax.encoders import Encoder

# Beyond this, threads wait for each other more than for the clips.
MAX_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class WaveformBatch:
    """Clips in a row, ready for the encoder.

    Attributes:
        start: Index of the first clip in its split.
        waveforms: At the encoder's rate, padded or cropped to its `input_samples`.
        lengths: Samples that belong to each clip.
        labels: One where the class is in the clip, else zero.
        clips: Per clip: its id and its events.
    """

    start: int
    waveforms: Float[np.ndarray, "B S"]
    lengths: Int[np.ndarray, "B"]
    labels: UInt8[np.ndarray, "B C"]
    clips: list[dict[str, Any]]

    def padded(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Waveforms and lengths of `width` rows; the last clip fills the rest."""
        rows = np.minimum(np.arange(width), len(self.clips) - 1)
        return self.waveforms[rows], self.lengths[rows]


def labels_of(clips: Sequence[Clip], dataset: Dataset) -> UInt8[np.ndarray, "B C"]:
    """One where the class is in the clip, else zero."""
    labels = np.zeros((len(clips), len(dataset.classes)), np.uint8)
    for row, clip in zip(labels, clips, strict=True):
        row[list(clip.labels)] = 1
    return labels


def facts_of(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """What a token store keeps of each clip besides its labels."""
    return [{"id": clip.id, "events": clip.events} for clip in clips]


@contextlib.contextmanager
def waveform_batches(
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    starts: Sequence[int],
    batch_size: int,
) -> Generator[Iterator[WaveformBatch], None, None]:
    """The batches that begin at the clips `starts`, in this order.

    A batch has `batch_size` clips, fewer at the end of the split. Leaving the context
    ends the threads.
    """
    import grain  # Half a second; only a pass over audio needs it.

    source, clips = dataset.source_of(split), dataset.splits[split]
    samples = encoder.input_samples(dataset.clip_seconds)

    def prepare(index: int) -> tuple[int, Clip, np.ndarray, int]:
        clip = source[index]
        waveform = resample(clip.waveform, dataset.sample_rate, encoder.sample_rate)
        return index, clip, *pad_or_crop(waveform, samples)

    def collate(items: Sequence[Any]) -> WaveformBatch:
        indices, clips, waveforms, lengths = zip(*items, strict=True)
        return WaveformBatch(
            start=indices[0],
            waveforms=np.stack(waveforms),
            lengths=np.asarray(lengths, np.int32),
            labels=labels_of(clips, dataset),
            clips=facts_of(clips),
        )

    order = [i for s in starts for i in range(s, min(s + batch_size, clips))]
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    ahead = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(threads, 2 * batch_size)
    )
    items = grain.MapDataset.source(order).map(prepare).to_iter_dataset(ahead)
    batches = iter(items.batch(batch_size, drop_remainder=False, batch_fn=collate))
    try:
        yield batches
    finally:
        batches.close()
