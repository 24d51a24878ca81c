"""What libsndfile reads, and what it must leave to FFmpeg."""

import io

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.audio.libsndfile import open_with_libsndfile
from unmute_jax.audio.section import Part, Section
from unmute_jax.errors import InputError


def written(format, subtype=None, samples=5000, **options):
    file = io.BytesIO()
    x = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, 2))
    sf.write(file, x, 16_000, format=format, subtype=subtype, **options)
    return file.getvalue()


def opened(data, **options):
    part = Part(file=Section(io.BytesIO(data), 0, len(data)), **options)
    return open_with_libsndfile(part, "x")


def with_length(flac, samples):
    """A FLAC whose header states another number of samples."""
    data = bytearray(flac)
    data[22:26] = samples.to_bytes(4)
    return bytes(data)


def test_a_file_is_read_from_its_beginning_however_often():
    data = written("FLAC")
    part = Part(file=Section(io.BytesIO(data), 0, len(data)))
    first, second = (
        np.concatenate(list(open_with_libsndfile(part, "x").blocks())) for _ in "12"
    )
    assert len(first) == 5000
    np.testing.assert_array_equal(first, second)


def test_unknown_formats_are_left_to_ffmpeg():
    assert opened(b"no sound at all") is None


def test_a_length_that_is_not_stated_is_left_to_ffmpeg():
    assert opened(with_length(written("FLAC"), 0)) is None


@pytest.mark.parametrize("samples", [100, 4999, 5001, 2**32 - 1])
def test_a_flac_with_a_wrong_length_is_refused(samples):
    with pytest.raises(InputError, match=f"{samples} samples are promised, 5000"):
        opened(with_length(written("FLAC"), samples))


def test_damage_inside_a_flac_is_refused():
    data = bytearray(written("FLAC"))
    data[len(data) // 2] ^= 4
    with pytest.raises(InputError, match="x: is damaged, or cut short"):
        list(opened(bytes(data)).blocks())


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_samples_up_to_the_end_are_read_whatever_the_header_states(subtype, endian):
    data = written("WAV", subtype, endian=endian)
    at = data.index(b"data")
    whole = np.concatenate(list(opened(data).blocks()))
    for size in (bytes(4), b"\x10\0\0\0", b"\xff" * 4):
        changed = data[: at + 4] + size + data[at + 8 :]
        decoder = opened(changed, samples_at=at + 8)
        np.testing.assert_array_equal(np.concatenate(list(decoder.blocks())), whole)
        assert decoder.seconds == 5000 / 16_000
