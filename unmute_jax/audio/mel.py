"""Mel spectrograms in decibels, as torchaudio makes them.

It follows `torchaudio.transforms.MelSpectrogram` and `AmplitudeToDB` (BSD-2-Clause):
centred frames with reflected ends, a periodic Hann window, HTK mel bands without area
normalisation.
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
        high_hz: Upper corner of the last band; the first begins at 0.
        sample_rate: In Hz.
        fft_size: Samples per frame, and length of the transform.
        frame_shift: Samples between the centres of two frames.
        floor: The least power.
        range_db: How far below the maximum everything ends.
    """

    num_mels: int = 64
    high_hz: float = 8000.0
    sample_rate: int = 16000
    fft_size: int = 512
    frame_shift: int = 160
    floor: float = 1e-10
    range_db: float = 120.0

    @property
    def min_samples(self) -> int:
        """The shortest clip that can be reflected at its ends."""
        return self.fft_size // 2 + 1

    def num_frames(self, samples: int) -> int:
        """Frames of `samples` samples; the first is centred on the first sample."""
        return 1 + samples // self.frame_shift

    def num_samples(self, frames: int) -> int:
        """The fewest samples that give `frames` frames."""
        return max(self.min_samples, (frames - 1) * self.frame_shift)

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Frames that reach beyond neither the clip nor its reflected beginning."""
        behind = jnp.asarray(lengths) - self.min_samples
        return jnp.maximum(0, 1 + behind // self.frame_shift)


def mel_decibels(
    waveform: Float[Arr, "B S"], options: MelDecibels, clamp: Clamp = "clip"
) -> Float[Array, "B frames mels"]:
    """10 log10 of mel band powers, at most `range_db` below their maximum.

    Args:
        waveform: In [-1, 1] at `options.sample_rate`.
        options: The constants.
        clamp: Whose maximum: that of each clip, or one of the whole batch, as the
            reference has it: there a quiet clip depends on the loudest beside it.
    """
    waveform, half = jnp.asarray(waveform), options.fft_size // 2
    matrices = _spectrum_matrix(options), mel_banks(options).astype(np.float32)

    def run(matrices: tuple[Arr, Arr], waveform: Array) -> Array:
        padded = jnp.pad(waveform, ((0, 0), (half, half)), mode="reflect")
        frames = cut_frames(padded, options.fft_size, options.frame_shift)
        powers = band_powers(frames, *matrices)
        return 10.0 * jnp.log10(jnp.maximum(powers, options.floor))

    size = clips_at_once(waveform)
    decibels = map_in_chunks(run, matrices, (waveform,), size=size)
    peak = decibels.max((1, 2) if clamp == "clip" else None, keepdims=True)
    return jnp.maximum(decibels, peak - options.range_db)


@functools.cache
def _spectrum_matrix(options: MelDecibels) -> np.ndarray:
    """`[fft_size, fft_size]`: window and DFT, real | imaginary, without Nyquist.

    The Nyquist bin has no weight in any band.
    """
    j, size = np.arange(options.fft_size), options.fft_size
    angles = -2 * np.pi * np.outer(j, np.arange(size // 2)) / size
    fourier = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    return (window(options)[:, None] * fourier).astype(np.float32)


def window(options: MelDecibels) -> np.ndarray:
    """The analysis window, `[fft_size]` float64; periodic, not symmetric."""
    j = np.arange(options.fft_size)
    return 0.5 - 0.5 * np.cos(2 * np.pi * j / options.fft_size)


@functools.cache
def mel_banks(options: MelDecibels) -> np.ndarray:
    """The triangles, `[fft_size / 2, num_mels]` float64, linear in Hz, peak 1."""
    high = 2595.0 * np.log10(1.0 + options.high_hz / 700.0)
    mels = np.linspace(0.0, high, options.num_mels + 2)
    corners = (700.0 * (10.0 ** (mels / 2595.0) - 1.0))[None, :]
    left, centre, right = corners[:, :-2], corners[:, 1:-1], corners[:, 2:]
    bins = np.arange(options.fft_size // 2) * options.sample_rate / options.fft_size
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))
