"""Says which clips an encoder hears only in part, and when most of its work is padding.

The lengths of all clips were kept when the data set was prepared, so nothing is read.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator

from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, Source
from unmute_jax.encoders.spectrogram_encoder import SpectrogramEncoder

# Share of the clips that a suggested length of inputs holds in full.
_NEARLY_ALL = 0.95


def length_notes(
    encoder: Source, dataset: Dataset, lengths: int = 1
) -> tuple[str, ...]:
    """Returns what a user should know of the lengths of clips and inputs.

    Args:
        encoder: Encoder or exported tokens; of these there is nothing to say.
        dataset: Data set.
        lengths: Number of lengths that inputs may have.
    """
    counts = collections.Counter[float]()
    for of_split in dataset.durations.values():
        counts.update(of_split)
    if not isinstance(encoder, Encoder) or not counts:
        return ()
    notes = [*_cut(encoder, dataset, counts)]
    if lengths == 1:
        notes += _padded(encoder, dataset, counts)
    return tuple(notes)


def _cut(
    encoder: Encoder, dataset: Dataset, counts: collections.Counter[float]
) -> Iterator[str]:
    """Yields a note if clips lose at least a time step."""
    clip_input = encoder.clip_input(dataset.clip_seconds)
    step = encoder.geometry.seconds_per_step

    def lost(seconds: float) -> float:
        samples = round(seconds * encoder.sample_rate)
        return (samples - len(clip_input.heard(samples))) / encoder.sample_rate

    if cut := sum(n for seconds, n in counts.items() if lost(seconds) >= step):
        heard = encoder.grid(dataset.clip_seconds)[0] * step
        note = (
            f"{cut:,} of {counts.total():,} clips are cut at {heard:.4g} s, where the "
            f"input of {encoder.name} ends"
        )
        if isinstance(encoder, SpectrogramEncoder):
            note += "; config.frontend.length_policy=window keeps all of them"
        yield note


def _padded(
    encoder: Encoder, dataset: Dataset, counts: collections.Counter[float]
) -> Iterator[str]:
    """Yields a note if a few long clips make the inputs of all others long."""
    longest = dataset.clip_seconds
    clip_input = encoder.clip_input(longest)
    median = max(_quantile(counts, 0.5), encoder.min_samples / encoder.sample_rate)
    # An input that is as long for the usual clips is not due to the long ones.
    if 2 * encoder.input_samples(median) > clip_input.samples:
        return
    heard = sum(
        n * len(clip_input.heard(round(seconds * encoder.sample_rate)))
        for seconds, n in counts.items()
    )
    padding = 1 - heard / (counts.total() * clip_input.samples)
    if padding < 0.5:
        return
    step = encoder.geometry.seconds_per_step
    halvings = math.floor(math.log2(longest / (median + step)))
    note = (
        f"all clips are padded to {clip_input.samples / encoder.sample_rate:.4g} s for "
        f"the sake of the longest, but half of them last at most {median:g} s: "
        f"{padding:.0%} of the input is padding; config.tokens.lengths="
        f"{1 + max(1, halvings)} gives short clips short inputs"
    )
    usual = _quantile(counts, _NEARLY_ALL)
    if (
        isinstance(encoder, SpectrogramEncoder)
        and encoder.framing.policy != "window"
        and 2 * usual <= longest
    ):
        framing = encoder.framing
        shift = framing.filters.frame_shift * framing.frames_per_step
        steps = math.ceil(usual * encoder.sample_rate / shift)
        frames = max(framing.patch_frames, steps * framing.frames_per_step)
        note += (
            f", and config.frontend.target_frames={frames} cuts the longest at "
            f"{steps * step:.4g} s"
        )
    yield note


def _quantile(counts: collections.Counter[float], share: float) -> float:
    """Returns the shortest length that a share of the clips does not exceed."""
    missing = share * counts.total()
    for seconds in sorted(counts):
        missing -= counts[seconds]
        if missing <= 0:
            return seconds
    return max(counts)
