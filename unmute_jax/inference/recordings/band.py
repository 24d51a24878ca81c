"""Measures how much of a recording lies above the frequency band of an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

# Samples per spectrum. A shorter remainder at the end of the recording is left out.
FRAME = 4096
# Nothing is measured if the Nyquist frequency is not above the band by this factor.
MARGIN = 1.1
# The share of energy above the band from which on users are told.
NOTABLE_SHARE = 0.01


class BandMeter:
    """Sums the energy of a waveform below and above a frequency, block by block."""

    def __init__(self, sample_rate: int, highest_hz: float):
        """Sets the sample rate, and the frequency that separates the two sums."""
        self._has_more = sample_rate / 2 > MARGIN * highest_hz
        self._first = int(np.ceil(highest_hz * FRAME / sample_rate)) + 1
        self._inside = self._above = 0.0
        self._rest = np.empty(0, np.float32)

    def measure(
        self, blocks: Iterable[Float[np.ndarray, "_"]]
    ) -> Iterator[Float[np.ndarray, "_"]]:
        """Measures the blocks of a waveform, and yields them unchanged."""
        for block in blocks:
            if self._has_more:
                self._add(block)
            yield block

    @property
    def share_above(self) -> float | None:
        """The share of energy above; None if there is no energy or no measurement."""
        total = self._inside + self._above
        return self._above / total if total else None

    def _add(self, block: np.ndarray) -> None:
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // FRAME * FRAME
        frames, self._rest = joined[:whole].reshape(-1, FRAME), joined[whole:]
        # Without a window, an offset or a loud low tone would leak to high frequencies.
        spectra = np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32))
        energy = np.square(np.abs(spectra)).sum(0)
        # The first bins hold the offset of the recorder, which is not sound.
        self._inside += float(energy[2 : self._first].sum())
        self._above += float(energy[self._first :].sum())
