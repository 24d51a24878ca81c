"""The end of a FLAC file is found by its last frame."""

import io

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.audio import flac
from unmute_jax.audio.flac import count_samples, flac_parts
from unmute_jax.audio.section import Section


def written(samples, channels=1, rate=16_000, subtype="PCM_16"):
    file = io.BytesIO()
    x = np.random.default_rng(samples).uniform(-0.5, 0.5, (samples, channels))
    sf.write(file, x, rate, format="FLAC", subtype=subtype)
    return file.getvalue()


def section(data):
    return Section(io.BytesIO(data), 0, len(data))


# Sizes of blocks and rates that have a code, and such that follow in the header.
@pytest.mark.parametrize("samples", [1, 192, 256, 4096, 4097, 4352, 50_000])
@pytest.mark.parametrize("rate", [12_345, 44_100, 96_000, 48_001])
def test_the_last_frame_says_how_many_samples_there_are(samples, rate):
    data = section(written(samples, 2, rate))
    assert flac._last_end(data) == samples
    assert flac._end_of_frames(data) == samples


def test_large_numbers_of_frames_are_read(monkeypatch):
    x = np.zeros(5_000_000, np.int16)
    file = io.BytesIO()
    sf.write(file, x, 8000, format="FLAC")
    assert flac._last_end(section(file.getvalue())) == 5_000_000


@pytest.mark.parametrize("stated", [0, 100, 4999, 5001])
def test_what_the_header_states_does_not_count(stated):
    data = bytearray(written(5000))
    data[22:26] = stated.to_bytes(4)
    assert count_samples(section(bytes(data)), stated) == 5000


def test_a_last_frame_that_is_missing_or_cut_is_seen():
    data = written(5000)
    assert count_samples(section(data[:-2500]), 5000) in (None, 4096)
    assert count_samples(section(data[:42]), 5000) is None


def test_a_frame_that_is_larger_than_what_is_searched_is_found(monkeypatch):
    monkeypatch.setattr(flac, "_END", 100)
    assert count_samples(section(written(5000, 2)), 5000) == 5000


def test_joined_files_are_divided(monkeypatch):
    one, two = written(5000), written(900, 2)
    whole = [one, two, one]
    assert [part.file.read() for part in flac_parts(section(b"".join(whole)))] == whole
    # The beginnings of files lie at any distance from where blocks meet.
    for searched in range(60, 75):
        monkeypatch.setattr(flac, "_SEARCHED", searched)
        parts = flac_parts(section(one + two))
        assert [part.file.read() for part in parts] == [one, two]
