"""Files that cannot be read in full, each with a name for what is wrong with it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.checks.audio_files import (
    FfmpegEncoding,
    make_signal,
    patched,
    with_ffmpeg,
    with_libsndfile,
)


def _sf(format: str, subtype: str = "PCM_16", rate: int = 16_000) -> bytes:
    return with_libsndfile(
        make_signal(rate, seconds=1.0), rate, format=format, subtype=subtype
    )


def _ff(container: str, codec: str, rate: int = 48_000, **how_else: Any) -> bytes:
    how = FfmpegEncoding(container=container, codec=codec, **how_else)
    return with_ffmpeg(make_signal(rate, seconds=1.0), rate, how)


def _mp3(tag: bool = True) -> bytes:
    options = {} if tag else {"write_xing": "0", "id3v2_version": "0"}
    return _ff("mp3", "libmp3lame", options=options)


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def _without_middle(data: bytes) -> bytes:
    return data[: len(data) // 2] + data[len(data) // 2 + 300 :]


def _flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _not_a_number() -> bytes:
    x = make_signal(16_000)
    x[100] = np.nan
    return with_libsndfile(x, 16_000, format="WAV", subtype="FLOAT")


_FASTSTART = {"movflags": "faststart"}
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}

REFUSED: dict[str, Callable[[], bytes]] = {
    "WAV, cut short": lambda: _cut(_sf("WAV")),
    "WAV, size too small": lambda: patched(_sf("WAV"), b"data", 0, b"\0\x10\0\0"),
    "WAV, contradicts itself": lambda: patched(_sf("WAV"), b"fmt ", 6, b"\3"),
    "WAV, not a number": _not_a_number,
    "WAV, impossible rate": lambda: patched(
        _sf("WAV"), b"fmt ", 8, struct.pack("<I", 2**31 - 1)
    ),
    "AIFF, cut short": lambda: _cut(_sf("AIFF")),
    "W64, cut short": lambda: _cut(_sf("W64")),
    "FLAC, cut short": lambda: _cut(_sf("FLAC")),
    "FLAC, one bit changed": lambda: _flipped(_sf("FLAC")),
    "FLAC, length too small": lambda: patched(
        _sf("FLAC"), b"fLaC", 18, struct.pack(">I", 3000)
    ),
    "Ogg, cut short": lambda: _cut(_sf("OGG", "VORBIS")),
    "Ogg, one bit changed": lambda: _flipped(_sf("OGG", "VORBIS")),
    "Ogg, parts with two rates": lambda: (
        _sf("OGG", "VORBIS") + _sf("OGG", "VORBIS", rate=8_000)
    ),
    "MP3, cut short": lambda: _cut(_mp3()),
    "MP3, a part left out": lambda: _without_middle(_mp3()),
    "MP3 without tag, cut short": lambda: _cut(_mp3(tag=False)),
    "MP3 without tag, a part left out": lambda: _without_middle(_mp3(tag=False)),
    "AAC (ADTS), cut short": lambda: _cut(_ff("adts", "aac")),
    "AAC (ADTS), parts with two rates": lambda: (
        _ff("adts", "aac") + _ff("adts", "aac", rate=16_000)
    ),
    "M4A, cut short": lambda: _cut(_ff("ipod", "aac")),
    "M4A, header in front, cut short": lambda: _cut(
        _ff("ipod", "aac", options=_FASTSTART)
    ),
    "MP4, fragments, cut short": lambda: _cut(_ff("mp4", "aac", options=_FRAGMENTS)),
    "M4A, encrypted": lambda: _ff("ipod", "aac").replace(b"mp4a", b"drms"),
    "WebM, cut short": lambda: _cut(_ff("webm", "libopus")),
    "MKV, two sound tracks": lambda: _ff("matroska", "flac", tracks=2),
    "MKV, pictures only": lambda: _ff("matroska", "flac", tracks=0, has_pictures=True),
    "WMA, cut short": lambda: _cut(_ff("asf", "wmav2", bit_rate=128_000)),
    "a playlist": lambda: b"#EXTM3U\n#EXTINF:9,\nclip.mp3\n",
    "a Git LFS pointer": lambda: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    ),
    "text": lambda: b"a letter, not a sound\n" * 100,
    "noise": lambda: np.random.default_rng(0).bytes(5000),
    "zeros": lambda: bytes(5000),
    "nothing": lambda: b"",
}
