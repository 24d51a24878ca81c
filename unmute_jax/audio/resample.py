"""Changes the sample rate and the length of waveforms."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Float

# Part of the key of every token store, because another resampler gives other tokens.
RESAMPLER = "soxr_hq"


def resample(
    x: Float[np.ndarray, " S"], from_rate: int, to_rate: int
) -> Float[np.ndarray, " R"]:
    """Changes the rate of a waveform, in Hz, with soxr at its quality `HQ`."""
    if from_rate == to_rate:
        return x
    return soxr.resample(x, from_rate, to_rate, quality="HQ")


def resample_blocks(
    blocks: Iterable[Float[np.ndarray, "_"]], from_rate: int, to_rate: int
) -> Iterator[Float[np.ndarray, "_"]]:
    """Does what `resample` does for a waveform that arrives in blocks.

    The results of the blocks, joined, equal those of the whole waveform bit for bit.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def pad_or_crop(
    x: Float[np.ndarray, " S"], samples: int
) -> tuple[Float[np.ndarray, " R"], int]:
    """Crops `x` to its first `samples` samples, or pads it with zeros at the end.

    Returns:
        A waveform of exactly `samples` samples, and how many of them come from `x`.
    """
    length = min(len(x), samples)
    if length == len(x) == samples:
        return x, length
    out = np.zeros(samples, x.dtype)
    out[:length] = x[:length]
    return out, length
