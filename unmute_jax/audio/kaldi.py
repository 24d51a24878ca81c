"""Computes the log-mel spectrograms of Kaldi, on the accelerator.

The filter bank follows `torchaudio.compliance.kaldi.fbank` (BSD-2-Clause) with
dither 0, no energy column, `snip_edges` true and the offset removed from every frame.
The reference code of EAT, SSLAM, AudioMAE, ASiT and BEATs calls it with these options.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from unmute_jax.ops.arrays import Arr
from unmute_jax.ops.chunked import map_in_chunks

# The floor of the energies is the epsilon of float32: the lowest log-mel is -15.942385.
ENERGY_FLOOR = 2.0**-23
# How many samples a CPU transforms at a time: four clips of 10 s. The frames of a clip
# take a dozen times the memory of its samples.
SAMPLES_AT_ONCE = 640_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class KaldiFbank:
    """The constants of a Kaldi log-mel filter bank.

    Those with a default are Kaldi's own for audio at 16 kHz; an encoder states the
    others.

    Attributes:
        num_mels: Number of mel bands.
        window: "hann" (symmetric), or "povey" (the same, raised to the power 0.85).
        low_hz: Lower corner of the first band, in Hz.
        high_hz: Upper corner of the last band, in Hz.
        sample_rate: Rate of the waveforms, in Hz.
        frame_length: Samples per frame.
        frame_shift: Samples from the start of one frame to the start of the next.
        fft_size: Length of the Fourier transform; frames are zero-padded to it.
        preemphasis: Coefficient of the first difference inside each frame.
    """

    num_mels: int
    window: Literal["hann", "povey"]
    low_hz: float = 20.0
    high_hz: float = 8000.0
    sample_rate: int = 16000
    frame_length: int = 400
    frame_shift: int = 160
    fft_size: int = 512
    preemphasis: float = 0.97

    @property
    def min_samples(self) -> int:
        """The samples of one frame: a shorter clip has no frame at all."""
        return self.frame_length

    def num_frames(self, samples: int) -> int:
        """Number of complete frames in `samples` samples; it may be 0."""
        return max(0, 1 + (samples - self.frame_length) // self.frame_shift)

    def num_samples(self, frames: int) -> int:
        """The smallest number of samples that holds `frames` frames."""
        return self.frame_length + (frames - 1) * self.frame_shift

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Number of complete frames in the first `lengths` samples of each clip."""
        starts = jnp.asarray(lengths) - self.frame_length
        return jnp.maximum(0, 1 + starts // self.frame_shift)

    def patch_edges_hz(
        self, bands: int, stride: int
    ) -> tuple[tuple[float, float], ...]:
        """(low, high) in Hz of patches of `bands` mel bands, one every `stride`."""
        starts = range(0, self.num_mels - bands + 1, stride)
        return tuple(self.band_edges_hz(m, m + bands) for m in starts)

    def band_edges_hz(self, start: int, stop: int) -> tuple[float, float]:
        """(low, high) in Hz of the mel bands from `start` up to, but without, `stop`.

        An edge lies where two neighbouring triangles have the same weight, so adjacent
        ranges of bands share it.
        """
        corners = _mel_corners(self)
        step = corners[1] - corners[0]
        low, high = corners[start] + step / 2, corners[stop] + step / 2
        return float(_mel_to_hz(low)), float(_mel_to_hz(high))


def kaldi_fbank(
    waveform: Float[Arr, "B S"], options: KaldiFbank
) -> Float[Array, "B frames mels"]:
    """Computes the natural log-mel energies of every complete frame.

    The steps are: cut frames; subtract the mean of each frame; pre-emphasise, y[j] =
    x[j] - 0.97 x[max(j - 1, 0)]; multiply with the window; take the power spectrum; sum
    it in triangles with peak 1 that are linear on the mel scale; log(max(energy,
    2^-23)).

    The references subtract the mean of the whole clip first. Every frame loses its own
    mean right after, so that step changes nothing but rounding. It is left out here, so
    that a frame depends on its own samples alone, whatever padding surrounds the clip.

    Pre-emphasis, window and Fourier transform are one constant matrix, computed in
    float64. Its result is closer to a float64 computation than that of a float32 FFT,
    and it is a plain matrix product on every kind of device.

    Args:
        waveform: Waveforms in [-1, 1] at `options.sample_rate`, shape `[B, S]`.
        options: The constants of the filter bank.

    Returns:
        Log energies, at least -15.942385. Clips with fewer than `frame_length` samples
        have no frames.
    """
    waveform = jnp.asarray(waveform)
    matrices = _spectrum_matrix(options), mel_banks(options).T.astype(np.float32)

    def run(matrices: tuple[Arr, Arr], waveform: Array) -> Array:
        frames = cut_frames(waveform, options.frame_length, options.frame_shift)
        centred = frames - frames.mean(-1, keepdims=True)
        return jnp.log(jnp.maximum(band_powers(centred, *matrices), ENERGY_FLOOR))

    return map_in_chunks(run, matrices, (waveform,), size=clips_at_once(waveform))


def band_powers(
    frames: Float[Array, "B frames X"],
    spectrum: Float[Arr, "X Y"],
    bands: Float[Arr, "_ mels"],
) -> Float[Array, "B frames mels"]:
    """Computes the power of each frame in each mel band.

    Args:
        frames: Frames of the waveforms.
        spectrum: Matrix from a frame to its spectrum, real parts first.
        bands: Matrix from the power spectrum to the powers of the mel bands.
    """
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    real, imaginary = jnp.split(jnp.square(product(frames, spectrum)), 2, axis=-1)
    return product(real + imaginary, bands)


def clips_at_once(waveform: Float[Array, "B S"]) -> int:
    """The number of clips that a CPU should transform at a time."""
    return SAMPLES_AT_ONCE // max(1, waveform.shape[1])


def frame_mask(real: Int[Arr, "B"], frames: int) -> Bool[Array, "B {frames}"]:
    """A mask that is true for the first `real` of `frames` frames of each clip."""
    return jnp.arange(frames)[None, :] < jnp.asarray(real)[:, None]


def zero_behind(
    x: Float[Arr, "B N *rest"], count: Int[Arr, "B"]
) -> Float[Array, "B N *rest"]:
    """Sets everything from row `count` of each clip on to zero.

    In a waveform this is silence, in a log-mel spectrogram padding.
    """
    x = jnp.asarray(x)
    mask = frame_mask(count, x.shape[1])
    return jnp.where(mask.reshape(*mask.shape, *[1] * (x.ndim - 2)), x, 0.0)


def cut_frames(
    waveform: Float[Array, "B S"], length: int, shift: int
) -> Float[Array, "B frames {length}"]:
    """Cuts waveforms into overlapping frames."""
    b, samples = waveform.shape
    n = max(0, 1 + (samples - length) // shift)
    if jax.default_backend() == "cpu" and n:
        # Copying whole frames is four times as fast as joining pieces of them.
        starts = shift * jnp.arange(n)

        def cut(clip: Array) -> Array:
            return jax.vmap(lambda i: lax.dynamic_slice(clip, (i,), (length,)))(starts)

        return jax.vmap(cut)(waveform)
    # On accelerators the frames are joined from strided slices: on some of them a
    # gather is slow.
    block = math.gcd(length, shift)
    per_frame, per_shift = length // block, shift // block
    total = (n - 1) * per_shift + per_frame if n else 0
    blocks = waveform[:, : total * block].reshape(b, total, block)
    parts = [
        blocks[:, k : k + (n - 1) * per_shift + 1 : per_shift] for k in range(per_frame)
    ]
    return jnp.concatenate(parts, axis=-1)


@functools.cache
def _spectrum_matrix(options: KaldiFbank) -> np.ndarray:
    """The matrix of pre-emphasis, window and Fourier transform.

    Its shape is `[frame_length, fft_size]`, with the real parts first. The Nyquist bin
    is left out, because its weight in every mel band is 0.
    """
    length, size = options.frame_length, options.fft_size
    j = np.arange(length)
    emphasis = np.eye(length)
    emphasis[np.maximum(j - 1, 0), j] -= options.preemphasis
    fourier = np.exp(-2j * np.pi * np.outer(j, np.arange(size // 2)) / size)
    matrix = emphasis @ (window(options)[:, None] * fourier)
    return np.concatenate([matrix.real, matrix.imag], axis=1).astype(np.float32)


def window(options: KaldiFbank) -> np.ndarray:
    """The analysis window, `[frame_length]` float64; it is symmetric, not periodic."""
    j = np.arange(options.frame_length)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * j / (options.frame_length - 1))
    return {"hann": hann, "povey": hann**0.85}[options.window]


@functools.cache
def mel_banks(options: KaldiFbank) -> np.ndarray:
    """The triangles of the mel bands, `[num_mels, fft_size / 2]` float64.

    Column k is the frequency `k * sample_rate / fft_size`. With 128 bands and 512
    points band 3 covers no bin; it is empty in Kaldi, too.
    """
    corners = _mel_corners(options)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(options.fft_size // 2) * options.sample_rate / options.fft_size
    mel = _hz_to_mel(bins)[None, :]
    rising = (mel - left) / (centre - left)
    falling = (right - mel) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel_corners(options: KaldiFbank) -> np.ndarray:
    """The corners of the triangles, equally spaced on the mel scale.

    Their shape is `[num_mels + 2]`; band m begins at corner m and ends at m + 2.
    """
    low, high = _hz_to_mel(np.array([options.low_hz, options.high_hz]))
    return np.linspace(low, high, options.num_mels + 2)


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hz / 700.0)


def _mel_to_hz(mel: float) -> float:
    return 700.0 * math.expm1(mel / 1127.0)
