"""Filter banks: from waveforms to log-mel spectrograms, on the accelerator.

The Kaldi filter bank follows `torchaudio.compliance.kaldi.fbank` (BSD-2-Clause) with
dither 0, no energy column, `snip_edges` true and a frame-wise offset removal; the
reference code of EAT, SSLAM, AudioMAE, ASiT and BEATs calls it with these options.
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

# float32 epsilon: the floor of the energies, so the lowest log-mel is -15.942385.
ENERGY_FLOOR = 2.0**-23
LOG_FLOOR = math.log(ENERGY_FLOOR)
# On a CPU; four clips of 10 s. Frames take a dozen times the memory of their samples.
SAMPLES_AT_ONCE = 640_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class KaldiFbank:
    """The constants of a Kaldi log-mel filter bank.

    Attributes:
        num_mels: Number of mel bands.
        window: "hann" (symmetric) or "povey" (the same to the power 0.85).
        low_hz: Lower corner of the first band.
        high_hz: Upper corner of the last band.
        sample_rate: In Hz.
        frame_length: Samples per frame.
        frame_shift: Samples between the starts of two frames.
        fft_size: Length of the transform; frames are zero-padded to it.
        preemphasis: Coefficient of the first difference inside each frame.
    """

    num_mels: int = 128
    window: Literal["hann", "povey"] = "hann"
    low_hz: float = 20.0
    high_hz: float = 8000.0
    sample_rate: int = 16000
    frame_length: int = 400
    frame_shift: int = 160
    fft_size: int = 512
    preemphasis: float = 0.97

    @property
    def min_samples(self) -> int:
        """Those of one frame."""
        return self.frame_length

    def num_frames(self, samples: int) -> int:
        """Complete frames in `samples` samples; 0 when not even one fits."""
        return max(0, 1 + (samples - self.frame_length) // self.frame_shift)

    def num_samples(self, frames: int) -> int:
        """The fewest samples that hold `frames` frames."""
        return self.frame_length + (frames - 1) * self.frame_shift

    def real_frames(self, lengths: Int[Arr, "B"]) -> Int[Array, "B"]:
        """Complete frames within the first `lengths` samples of each clip."""
        starts = jnp.asarray(lengths) - self.frame_length
        return jnp.maximum(0, 1 + starts // self.frame_shift)

    def patch_edges_hz(
        self, bands: int, stride: int
    ) -> tuple[tuple[float, float], ...]:
        """Where patches of `bands` bands begin and end, one every `stride` bands."""
        starts = range(0, self.num_mels - bands + 1, stride)
        return tuple(self.band_edges_hz(m, m + bands) for m in starts)

    def band_edges_hz(self, start: int, stop: int) -> tuple[float, float]:
        """Where the bands `start` ... `stop - 1` begin and end, in Hz.

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
    """Natural log-mel energies of every complete frame.

    The recipe: cut frames; subtract each frame's mean; y[j] = x[j] - 0.97 x[max(j-1,
    0)]; window; power spectrum; triangles that are linear on the mel scale, peak 1;
    log(max(energy, 2^-23)).

    The references first subtract the mean of the whole clip. Every frame loses its own
    mean right after, so this changes nothing but rounding, and it is left out: a frame
    then depends on its own samples alone, whatever padding surrounds the clip.

    Pre-emphasis, window and Fourier transform are one constant matrix, made in float64.
    Against a float64 run this is closer than a float32 FFT, and it is a plain matrix
    product on every kind of device.

    Args:
        waveform: In [-1, 1] at `options.sample_rate`.
        options: The constants.

    Returns:
        Log energies, at least -15.942385. No frames for fewer than `frame_length`
        samples.
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
    """The power of each frame in each band.

    Args:
        frames: Of the waveform.
        spectrum: From a frame to its spectrum, real parts first.
        bands: From powers of the spectrum to those of the bands.
    """
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
    real, imaginary = jnp.split(jnp.square(product(frames, spectrum)), 2, axis=-1)
    return product(real + imaginary, bands)


def clips_at_once(waveform: Float[Array, "B S"]) -> int:
    """How many clips a CPU best takes at a time."""
    return SAMPLES_AT_ONCE // max(1, waveform.shape[1])


def frame_mask(real: Int[Arr, "B"], frames: int) -> Bool[Array, "B {frames}"]:
    """True for the first `real` of `frames` frames."""
    return jnp.arange(frames)[None, :] < jnp.asarray(real)[:, None]


def zero_behind(
    x: Float[Arr, "B N *rest"], count: Int[Arr, "B"]
) -> Float[Array, "B N *rest"]:
    """Zeros from row `count` on: silence in a waveform, padding in a log-mel."""
    x = jnp.asarray(x)
    kept = frame_mask(count, x.shape[1])
    return jnp.where(kept.reshape(*kept.shape, *[1] * (x.ndim - 2)), x, 0.0)


def cut_frames(
    waveform: Float[Array, "B S"], length: int, shift: int
) -> Float[Array, "B frames {length}"]:
    """Overlapping frames."""
    b, samples = waveform.shape
    n = max(0, 1 + (samples - length) // shift)
    if jax.default_backend() == "cpu" and n:
        # Copies whole frames, four times as fast as to join pieces of them.
        starts = shift * jnp.arange(n)

        def cut(clip: Array) -> Array:
            return jax.vmap(lambda i: lax.dynamic_slice(clip, (i,), (length,)))(starts)

        return jax.vmap(cut)(waveform)
    # Accelerators: strided slices, for gathers are slow on some.
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
    """`[frame_length, fft_size]`: pre-emphasis, window and DFT, real | imaginary.

    The Nyquist bin is left out: its weight in every mel band is 0.
    """
    length, size = options.frame_length, options.fft_size
    j = np.arange(length)
    emphasis = np.eye(length)
    emphasis[np.maximum(j - 1, 0), j] -= options.preemphasis
    fourier = np.exp(-2j * np.pi * np.outer(j, np.arange(size // 2)) / size)
    matrix = emphasis @ (window(options)[:, None] * fourier)
    return np.concatenate([matrix.real, matrix.imag], axis=1).astype(np.float32)


def window(options: KaldiFbank) -> np.ndarray:
    """The analysis window, `[frame_length]` float64; symmetric, not periodic."""
    j = np.arange(options.frame_length)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * j / (options.frame_length - 1))
    return {"hann": hann, "povey": hann**0.85}[options.window]


@functools.cache
def mel_banks(options: KaldiFbank) -> np.ndarray:
    """The triangles, `[num_mels, fft_size / 2]` float64; bin k is k / fft_size of rate.

    With 128 bands and 512 points band 3 covers no bin: it is empty in Kaldi too.
    """
    corners = _mel_corners(options)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(options.fft_size // 2) * options.sample_rate / options.fft_size
    mel = _hz_to_mel(bins)[None, :]
    rising = (mel - left) / (centre - left)
    falling = (right - mel) / (right - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel_corners(options: KaldiFbank) -> np.ndarray:
    """`[num_mels + 2]` equally spaced on the mel scale; band m spans m ... m + 2."""
    low, high = _hz_to_mel(np.array([options.low_hz, options.high_hz]))
    return np.linspace(low, high, options.num_mels + 2)


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hz / 700.0)


def _mel_to_hz(mel: float) -> float:
    return 700.0 * math.expm1(mel / 1127.0)
