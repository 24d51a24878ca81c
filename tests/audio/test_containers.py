"""Sizes that headers state are compared with the file."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from experiments.checks.audio_files import FfmpegEncoding, make_signal, with_ffmpeg
from unmute_jax.audio.containers import find_parts
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError


def written(format, subtype="PCM_16", samples=500, **options):
    file = io.BytesIO()
    x = np.linspace(-0.5, 0.5, samples)
    sf.write(file, x, 16_000, format=format, subtype=subtype, **options)
    return file.getvalue()


def parts(data):
    return find_parts(Section(io.BytesIO(data), 0, len(data)), "x")


def with_size(data, kind, size, layout="<I"):
    at = data.index(kind) + 4 + (12 if layout == "<8Q" else 0)
    size = struct.pack(layout, size)
    return data[:at] + size + data[at + len(size) :]


@pytest.mark.parametrize(
    ("format", "kind", "layout"),
    [("WAV", b"data", "<I"), ("AIFF", b"SSND", ">I"), ("CAF", b"data", ">Q")],
)
def test_a_size_that_is_too_small_is_refused(format, kind, layout):
    data = with_size(written(format), kind, 100, layout)
    with pytest.raises(InputError, match=r"too small a size: 9.. bytes follow the 100"):
        parts(data)


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        b"\0",
        bytes(512),
        b"LIST\x04\0\0\0INFO",
        b"bext\x03\0\0\0abc\0LIST\x04\0\0\0INFO",
        b"bext\x03\0\0\0abcLIST\x04\0\0\0INFO",
        b"TAG" + bytes(125),
        b"ID3\x04\0\0\0\0\x02\0" + bytes(256),
    ],
)
def test_tags_and_padding_may_follow_the_samples(behind):
    (part,) = parts(written("WAV") + behind)
    assert part.for_libsndfile
    assert part.samples_at is None


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_a_size_that_was_not_known_means_all_that_follows(size):
    (part,) = parts(with_size(written("WAV"), b"data", size))
    assert part.samples_at == 44


def test_no_samples_are_not_all_that_follows():
    (part,) = parts(written("WAV", samples=0) + b"LIST\x04\0\0\0INFO")
    assert part.samples_at is None


def test_a_size_between_two_and_four_gigabytes_may_be_right(tmp_path):
    size = 0x90000000
    header = with_size(written("WAV", samples=0), b"data", size)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
        file.seek(0, 2)
        file.write(b"LIST\x04\0\0\0INFO")
    with path.open("rb") as file:
        (part,) = find_parts(Section(file, 0, path.stat().st_size), "x")
    assert part.samples_at is None


def test_a_size_that_wrapped_at_four_gigabytes_means_all_that_follows(tmp_path):
    header = with_size(written("WAV", samples=0), b"data", 1000)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 1000 + (1 << 32))  # A hole on the disk.
    with path.open("rb") as file:
        (part,) = find_parts(Section(file, 0, path.stat().st_size), "x")
    assert part.samples_at == 44


def test_a_pipe_may_write_more_than_the_largest_size(tmp_path):
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(with_size(written("WAV", samples=0), b"data", 0xFFFFFFFF))
        file.truncate((1 << 32) + 10_000)
    with path.open("rb") as file:
        (part,) = find_parts(Section(file, 0, path.stat().st_size), "x")
    assert part.samples_at == 44


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "AIFF", "CAF", "AU", "W64"])
def test_a_file_that_is_cut_short_is_refused(format):
    data = written(format)
    assert len(parts(data)) == 1
    for cut in (1, 500, len(data) - 20):
        with pytest.raises(InputError, match="cut short"):
            parts(data[:-cut])


def test_a_wav_that_contradicts_itself_is_refused():
    data = bytearray(written("WAV"))
    data[22] = 3  # Channels.
    with pytest.raises(InputError, match="3 channels of 16 bits do not take 2 bytes"):
        parts(bytes(data))


@pytest.mark.parametrize(
    "how",
    [
        {"container": "ipod", "codec": "aac", "options": {"movflags": "faststart"}},
        {"container": "webm", "codec": "libopus"},
        {"container": "asf", "codec": "wmav2", "bit_rate": 128_000},
        {"container": "avi", "codec": "libmp3lame"},
    ],
    ids=lambda how: how["container"],
)
def test_a_film_that_is_cut_short_is_refused(how):
    data = with_ffmpeg(make_signal(48_000), 48_000, FfmpegEncoding(**how))
    (part,) = parts(data)
    assert not part.for_libsndfile
    for cut in (1, 500, len(data) // 2):
        with pytest.raises(InputError, match="bytes are promised"):
            parts(data[:-cut])


def test_a_tag_in_front_of_another_format_is_left_out():
    wav = written("WAV")
    tag = b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)
    (part,) = parts(tag + wav)
    assert part.file.read() == wav
    (part,) = parts(tag + b"\xff\xfb")
    assert part.file.read() == tag + b"\xff\xfb"


def test_a_git_lfs_pointer_is_called_that():
    with pytest.raises(InputError, match="is a Git LFS pointer"):
        parts(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
