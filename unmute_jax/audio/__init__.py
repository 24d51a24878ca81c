"""Reads audio files as waveforms, and turns waveforms into spectrograms."""

from unmute_jax.audio.decode import SUFFIXES, AudioFile, decode_audio, read_audio
from unmute_jax.audio.resample import (
    RESAMPLER,
    pad_or_crop,
    resample,
    resample_blocks,
)

__all__ = [
    "RESAMPLER",
    "SUFFIXES",
    "AudioFile",
    "decode_audio",
    "pad_or_crop",
    "read_audio",
    "resample",
    "resample_blocks",
]
