"""Audio files to waveforms: read, mix down, resample, pad and crop.

Everything a person may hand over ends in a waveform or in one `InputError` that names
the file and the reason; no exception of a decoder and nothing it prints gets through.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Float

# Part of every cache key: another resampler gives other embeddings.
RESAMPLER = "soxr_hq"


def resample(
    x: Float[np.ndarray, " S"], from_rate: int, to_rate: int
) -> Float[np.ndarray, " R"]:
    """Changes the rate of a waveform, in Hz, with soxr at its high quality (`HQ`)."""
    if from_rate == to_rate:
        return x
    return soxr.resample(x, from_rate, to_rate, quality="HQ")


def resample_blocks(
    blocks: Iterable[Float[np.ndarray, "_"]], from_rate: int, to_rate: int
) -> Iterator[Float[np.ndarray, "_"]]:
    """`resample` of a waveform that comes in blocks; joined, the same bits."""
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
    """Cuts `x` to its first `samples` samples, or fills it up with zeros at the end.

    Returns:
        The waveform of exactly `samples` samples, and how many of them are `x`'s.
    """
    length = min(len(x), samples)
    if length == len(x) == samples:
        return x, length
    out = np.zeros(samples, x.dtype)
    out[:length] = x[:length]
    return out, length
