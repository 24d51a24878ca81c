"""How much of a recording lies above the band that an encoder listens to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

# Samples per spectrum; a shorter rest at the end of the recording is left out.
FRAME = 4096
# Where a recording reaches less far above the band than this, nothing is missed.
MARGIN = 1.1
# A share of the energy from which on a person should know.
NOTABLE = 0.01


class BandMeter:
    """Adds up the energy of a waveform that passes by, below and above a frequency."""

    def __init__(self, sample_rate: int, highest_hz: float):
        """Watches for what lies above `highest_hz`, in recordings of `sample_rate`."""
        self._reaches = sample_rate / 2 > MARGIN * highest_hz
        self._first = int(np.ceil(highest_hz * FRAME / sample_rate)) + 1
        self._audible = self._above = 0.0
        self._rest = np.empty(0, np.float32)

    def watch(
        self, blocks: Iterable[Float[np.ndarray, "_"]]
    ) -> Iterator[Float[np.ndarray, "_"]]:
        """Hands the blocks on as they are."""
        for block in blocks:
            if self._reaches:
                self._add(block)
            yield block

    @property
    def share_above(self) -> float | None:
        """Share of the energy above; None where nothing was measured, or is there."""
        total = self._audible + self._above
        return self._above / total if total else None

    def _add(self, block: np.ndarray) -> None:
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // FRAME * FRAME
        frames, self._rest = joined[:whole].reshape(-1, FRAME), joined[whole:]
        # Without a window an offset or a loud low tone would leak upwards.
        spectra = np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32))
        energy = np.square(np.abs(spectra)).sum(0)
        # The first bins are the offset of the recorder, no sound.
        self._audible += float(energy[2 : self._first].sum())
        self._above += float(energy[self._first :].sum())
