"""Averages the channels of a recording, and notices when they cancel each other out."""

import numpy as np
from jaxtyping import Float

# Channels that have nothing in common keep one part in C of their energy in the average
# of C channels. With a tenth of that, they cancel each other out.
_SHARE = 0.1


class ChannelMix:
    """Averages the channels of one recording, block by block."""

    def __init__(self) -> None:
        self._of_channels = self._of_average = 0.0

    def mono(self, block: Float[np.ndarray, "S C"]) -> Float[np.ndarray, " S"]:
        """Returns the average of the channels of a block."""
        channels = block.shape[1]
        if channels == 1:
            return block[:, 0]
        # NumPy's mean along such a short axis takes twenty times as long. The sum of
        # damaged floats may exceed what float32 holds.
        with np.errstate(over="ignore", invalid="ignore"):
            average = block[:, 0] + block[:, 1]
            for channel in range(2, channels):
                average += block[:, channel]
            average /= channels
        flat = block.ravel(order="K")
        self._of_channels += float(np.vdot(flat, flat)) / channels
        self._of_average += float(np.vdot(average, average)) * channels
        return average

    @property
    def cancels(self) -> bool:
        """Whether hardly anything is left of the blocks in their averages."""
        return self._of_average < _SHARE * self._of_channels
