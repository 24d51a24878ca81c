"""Front ends as they are usually written in NumPy and PyTorch, to compare ours with.

They use real Fourier transforms. As in torchaudio, the Kaldi filter bank in PyTorch
takes one clip at a time and the mel spectrogram a batch. Windows and mel bands are
ours.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks.side_by_side import cores
from unmute_jax.audio import kaldi, mel
from unmute_jax.audio.kaldi import (
    ENERGY_FLOOR,
    KaldiFbank,
    kaldi_fbank,
    mel_banks,
)
from unmute_jax.audio.mel import MelDecibels

Options = KaldiFbank | MelDecibels
# Maps a batch of clips `[B, S]` to spectrograms `[B, frames, mels]`.
FrontEnd = Callable[[np.ndarray], np.ndarray]


def in_jax(options: Options) -> FrontEnd:
    """Returns our front end, compiled."""
    import jax

    def run(waveform: Any) -> Any:
        if isinstance(options, KaldiFbank):
            return kaldi_fbank(waveform, options)
        return mel.mel_decibels(waveform, options)

    compiled = jax.jit(run)
    return lambda waveform: np.asarray(compiled(waveform))


def in_numpy(options: Options, dtype: Any = np.float64) -> FrontEnd:
    """Returns a front end in NumPy for one clip at a time, in float64 by default."""
    window, banks = (x.astype(dtype) for x in _constants(options))
    one = _kaldi_clip if isinstance(options, KaldiFbank) else _decibels_clip

    def run(waveform: np.ndarray) -> np.ndarray:
        return np.stack([one(x, options, window, banks) for x in waveform])

    return run


def in_numpy_float32(options: Options) -> FrontEnd:
    """Returns the front end in NumPy with float32 throughout."""
    return in_numpy(options, np.float32)


def in_torch(options: Options) -> FrontEnd:
    """Returns a front end in PyTorch: Kaldi clip by clip, decibels as a batch."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(cores())
    window, banks = (torch.from_numpy(x) for x in _constants(options))

    def kaldi(x: Any) -> Any:
        assert isinstance(options, KaldiFbank)
        frames = x.unfold(0, options.frame_length, options.frame_shift)
        frames = frames - frames.mean(1, keepdim=True)
        before = torch.nn.functional.pad(frames[None], (1, 0), mode="replicate")[0]
        frames = (frames - options.preemphasis * before[:, :-1]) * window
        missing = options.fft_size - options.frame_length
        frames = torch.nn.functional.pad(frames, (0, missing))
        power = torch.fft.rfft(frames).abs().pow(2.0)
        return (power[:, :-1] @ banks).clamp(min=ENERGY_FLOOR).log()

    def decibels(x: Any) -> Any:
        assert isinstance(options, MelDecibels)
        spectrum = torch.stft(
            x,
            options.fft_size,
            options.frame_shift,
            window=window,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.abs().pow(2.0)[:, :-1].transpose(1, 2)
        level = 10.0 * (power @ banks).clamp(min=options.floor).log10()
        peak = level.amax((1, 2), keepdim=True)
        return torch.maximum(level, peak - options.range_db)

    @torch.inference_mode()
    def run(waveform: np.ndarray) -> np.ndarray:
        clips = torch.from_numpy(waveform)
        if isinstance(options, MelDecibels):
            return decibels(clips).numpy()
        return torch.stack([kaldi(x) for x in clips]).numpy()

    return run


def _constants(options: Options) -> tuple[np.ndarray, np.ndarray]:
    """The window `[frame_length]` and mel bands `[fft_size / 2, mels]` in float32."""
    if isinstance(options, KaldiFbank):
        window, banks = kaldi.window(options), mel_banks(options).T
    else:
        window, banks = mel.window(options), mel.mel_banks(options)
    return window.astype(np.float32), np.ascontiguousarray(banks, np.float32)


def _kaldi_clip(
    x: np.ndarray, options: Any, window: np.ndarray, banks: np.ndarray
) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(x, options.frame_length)
    frames = frames[:: options.frame_shift]
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    frames = (frames - np.float32(options.preemphasis) * before) * window
    power = np.abs(np.fft.rfft(frames, options.fft_size)) ** 2
    return np.log(np.maximum(power[:, :-1] @ banks, np.float32(ENERGY_FLOOR)))


def _decibels_clip(
    x: np.ndarray, options: Any, window: np.ndarray, banks: np.ndarray
) -> np.ndarray:
    padded = np.pad(x, options.fft_size // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, options.fft_size)
    frames = frames[:: options.frame_shift] * window
    power = np.abs(np.fft.rfft(frames)) ** 2
    level = 10 * np.log10(np.maximum(power[:, :-1] @ banks, options.floor))
    return np.maximum(level, level.max() - options.range_db).astype(np.float32)
