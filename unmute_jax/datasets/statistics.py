"""Counts what a reader of the results should know of the clips of a data set."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from unmute_jax.datasets.clips import Clip

# A clip is clipped if this many samples in a row are equal to its highest or lowest
# sample, and that is near full scale or beyond. Full scale is 0.98 in mu-law.
_RUN = 4
_FULL_SCALE = 0.97
_STEP = 1 / 32768
# Decoders of lossy formats exceed full scale by a little, but not by 24 dB.
_HIGHEST = 16.0


class Statistics:
    """Rates, lengths and peculiarities of the clips of a data set.

    Attributes:
        sample_rates: Number of clips with each sample rate in Hz.
        durations: For every split, the number of clips of each length in seconds, which
            is rounded to milliseconds.
        clip_seconds: Length of the longest clip in seconds.
        clips_per_class: Number of clips with each label.
        cancelling: Names of the files whose channels cancel each other out.
    """

    def __init__(self) -> None:
        self.sample_rates = collections.Counter[int]()
        self.durations: dict[str, collections.Counter[float]] = {}
        self.clip_seconds = 0.0
        self.clips_per_class = collections.Counter[int]()
        self.cancelling = set[str]()
        self._labels_of_rate = collections.defaultdict[int, set[int]](set)
        self._loud = self._clipped = self._silent = 0
        self._peak = 0.0
        self._split_of_digest: dict[str, str] = {}
        self._repeats_across = self._repeats_within = 0

    def add(self, split: str, clip: Clip, digest: str) -> None:
        """Counts a clip.

        Args:
            split: Its split.
            clip: The clip.
            digest: SHA-256 of what determines its waveform.
        """
        self.sample_rates[clip.sample_rate] += 1
        self.clips_per_class.update(set(clip.labels))
        self._labels_of_rate[clip.sample_rate].update(clip.labels)
        seconds = len(clip.waveform) / clip.sample_rate
        of_split = self.durations.setdefault(split, collections.Counter())
        of_split[round(seconds, 3)] += 1
        self.clip_seconds = max(self.clip_seconds, seconds)
        low, high = float(clip.waveform.min()), float(clip.waveform.max())
        self._loud += max(-low, high) > 1
        self._peak = max(self._peak, -low, high)
        self._silent += high - low < _STEP
        self._clipped += high - low >= _STEP and (
            (high >= _FULL_SCALE and _has_run(clip.waveform, high))
            or (low <= -_FULL_SCALE and _has_run(clip.waveform, low))
        )
        if digest in self._split_of_digest:
            is_in_two_splits = self._split_of_digest[digest] != split
            self._repeats_across += is_in_two_splits
            self._repeats_within += not is_in_two_splits
        self._split_of_digest.setdefault(digest, split)

    def notes(self) -> Iterator[str]:
        """Yields a line for everything that is unusual."""
        if len(self.sample_rates) > 1:
            rates = sorted(self.sample_rates.items())
            listed = ", ".join(f"{rate:,} Hz ({n:,} clips)" for rate, n in rates)
            yield f"sample rates differ: {listed}"
            classes = collections.Counter[int]()
            for labels in self._labels_of_rate.values():
                classes.update(labels)
            if classes and max(classes.values()) == 1:
                yield (
                    "no class has clips of two sample rates, so a probe may learn the "
                    "rate instead of the sound"
                )
        counts = {
            "silent, or quieter than 16 bits can tell": self._silent,
            "clipped, with runs of samples at full scale": self._clipped,
            f"beyond [-1, 1], with samples of up to {self._peak:,.6g}": self._loud,
        }
        for what, count in counts.items():
            if count:
                yield f"{count:,} clip{'s are' if count > 1 else ' is'} {what}"
        if self._peak > _HIGHEST:
            yield (
                "samples that large look like integers that were saved as floats; "
                "divide them by 32,768 if they have 16 bits"
            )
        if self.cancelling:
            yield (
                "files whose channels cancel each other out in their average, which is "
                f"what encoders hear: {len(self.cancelling):,}"
            )
        counts = {
            "another split": self._repeats_across,
            "their split": self._repeats_within,
        }
        for where, count in counts.items():
            if count:
                other = "a clip" if where == "another split" else "another clip"
                yield f"{count} clips have the same audio as {other} of {where}"


def _has_run(x: Float32[np.ndarray, " S"], value: float) -> bool:
    """Returns whether `_RUN` samples in a row have a value."""
    # Few samples have the extreme value, so their places are a short list.
    places = np.flatnonzero(x == value)
    return bool((places[_RUN - 1 :] - places[: 1 - _RUN] == _RUN - 1).any())
