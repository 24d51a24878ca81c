"""Computes mel spectrograms in decibels, as torchaudio and Whisper do.

`MelDecibels` follows `torchaudio.transforms.MelSpectrogram` and `AmplitudeToDB`
(BSD-2-Clause): centred frames with reflected ends, a periodic Hann window, and HTK mel
bands without area normalisation. `SlaneyDecibels` follows `whisper.audio` (MIT): one
frame less, and mel bands on Slaney's scale that are normalised to equal area.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from unmute_jax.audio.kaldi import band_powers, clips_at_once, cut_frames
from unmute_jax.ops.arrays import Arr
from unmute_jax.ops.chunked import map_in_chunks

Clamp = Literal["clip", "batch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MelDecibels:
    """The constants of a mel spectrogram in decibels.

    Attributes:
        num_mels: Number of mel bands.
        high_hz: Upper corner of the last band in Hz; the first band begins at 0 Hz.
        sample_rate: Rate of the waveforms, in Hz.
        fft_size: Samples per frame, and length of the Fourier transform.
        frame_shift: Samples from the centre of one frame to the centre of the next.
        floor: Lower limit of the band powers.
        range_db: Distance from the maximum to the lowest value, in decibels.
    """

    num_mels: int
    high_hz: float
    sample_rate: int
    fft_size: int
    frame_shift: int
    floor: float
    range_db: float

    @property
    def min_samples(self) -> int:
        """Length of the shortest clip that can be reflected at its ends."""
        return self.fft_size // 2 + 1

    @property
    def corners_hz(self) -> np.ndarray:
        """Corners of the triangles in Hz, equally spaced on the mel scale of HTK.

        Band k begins at corner k, peaks at corner k + 1 and ends at corner k + 2.
        """
        high = 2595.0 * np.log10(1.0 + self.high_hz / 700.0)
        mels = np.linspace(0.0, high, self.num_mels + 2)
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)

    def peaks(self, corners: np.ndarray) -> np.ndarray:
        """The height of each triangle, given the corners of all."""
        return np.ones(self.num_mels)

    def patch_edges_hz(self, bands: int) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of patches of `bands` mel bands, side by side.

        An edge lies where two neighbouring triangles cross.
        """
        corners = self.corners_hz
        edges = (corners[:-1] + corners[1:]) / 2
        starts = range(0, self.num_mels - bands + 1, bands)
        return tuple((float(edges[m]), float(edges[m + bands])) for m in starts)

    def num_frames(self, samples: int) -> int:
        """Number of frames of `samples` samples; frame 0 is centred on sample 0."""
        return 1 + samples // self.frame_shift

    def num_samples(self, frames: int) -> int:
        """The smallest number of samples that gives `frames` frames."""
        return max(self.min_samples, (frames - 1) * self.frame_shift)

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Number of frames that hold no sample from behind the end of each clip."""
        last_centre = jnp.asarray(lengths) - self.min_samples
        return jnp.maximum(0, 1 + last_centre // self.frame_shift)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlaneyDecibels(MelDecibels):
    """The constants of a mel spectrogram on Slaney's scale, without the last frame.

    The scale is linear up to 1000 Hz and logarithmic above, and each triangle has the
    area 1, as `librosa.filters.mel` makes them.
    """

    @property
    def min_samples(self) -> int:
        """Length of the shortest clip with a frame of its own."""
        return 1

    @property
    def corners_hz(self) -> np.ndarray:
        """Corners of the triangles in Hz, equally spaced on Slaney's mel scale."""
        step = np.log(6.4) / 27
        high = 15.0 + np.log(self.high_hz / 1000.0) / step
        mels = np.linspace(0.0, high, self.num_mels + 2)
        return np.where(
            mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp((mels - 15.0) * step)
        )

    def peaks(self, corners: np.ndarray) -> np.ndarray:
        """The height of each triangle, given the corners of all."""
        return 2.0 / (corners[2:] - corners[:-2])

    def num_frames(self, samples: int) -> int:
        """Number of frames of `samples` samples; frame 0 is centred on sample 0."""
        return samples // self.frame_shift

    def num_samples(self, frames: int) -> int:
        """The smallest number of samples that gives `frames` frames."""
        return frames * self.frame_shift

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Number of frames that are centred on a sample of each clip."""
        return -(-jnp.asarray(lengths) // self.frame_shift)


def mel_decibels(
    waveform: Float[Arr, "B S"], options: MelDecibels, clamp: Clamp = "clip"
) -> Float[Array, "B frames mels"]:
    """Computes 10 log10 of the mel band powers, at most `range_db` below their maximum.

    Args:
        waveform: Waveforms in [-1, 1] at `options.sample_rate`, shape `[B, S]`.
        options: The constants of the spectrogram.
        clamp: The maximum that limits the range: "clip", that of each clip, or "batch",
            that of the whole batch. The reference uses the batch, so that there the
            values of a quiet clip depend on the loudest clip beside it.
    """
    waveform, half = jnp.asarray(waveform), options.fft_size // 2
    padded = jnp.pad(waveform, ((0, 0), (half, half)), mode="reflect")
    frames = options.num_frames(waveform.shape[1])
    decibels = band_decibels(padded, options, frames)
    peak = decibels.max((1, 2) if clamp == "clip" else None, keepdims=True)
    return jnp.maximum(decibels, peak - options.range_db)


def band_decibels(
    padded: Float[Array, "B S"], options: MelDecibels, frames: int
) -> Float[Array, "B {frames} mels"]:
    """Computes 10 log10 of the mel band powers, without a limit of their range.

    Args:
        padded: Waveforms with half a frame before the first sample and behind the last.
        options: The constants of the spectrogram.
        frames: Number of frames.
    """
    matrices = _spectrum_matrix(options), mel_banks(options).astype(np.float32)

    def run(matrices: tuple[Arr, Arr], padded: Array) -> Array:
        cut = cut_frames(padded, options.fft_size, options.frame_shift)[:, :frames]
        powers = band_powers(cut, *matrices)
        return 10.0 * jnp.log10(jnp.maximum(powers, options.floor))

    return map_in_chunks(run, matrices, (padded,), size=clips_at_once(padded))


@functools.cache
def _spectrum_matrix(options: MelDecibels) -> np.ndarray:
    """The matrix of window and Fourier transform.

    Its shape is `[fft_size, fft_size]`, with the real parts first. The Nyquist bin is
    left out, because its weight in every mel band is 0.
    """
    j, size = np.arange(options.fft_size), options.fft_size
    angles = -2 * np.pi * np.outer(j, np.arange(size // 2)) / size
    fourier = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return (window(options)[:, None] * fourier).astype(np.float32)


def window(options: MelDecibels) -> np.ndarray:
    """The analysis window, `[fft_size]` float64; it is periodic, not symmetric."""
    j = np.arange(options.fft_size)
    return 0.5 - 0.5 * np.cos(2 * np.pi * j / options.fft_size)


@functools.cache
def mel_banks(options: MelDecibels) -> np.ndarray:
    """The triangles of the mel bands, `[fft_size / 2, num_mels]` float64.

    They are linear in Hz.
    """
    corners = options.corners_hz
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(options.fft_size // 2) * options.sample_rate / options.fft_size
    rising = (bins[:, None] - left[None, :]) / (centre - left)[None, :]
    falling = (right[None, :] - bins[:, None]) / (right - centre)[None, :]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return triangles * options.peaks(corners)[None, :]
