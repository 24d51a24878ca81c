"""Stretches of a recording are read in one pass."""

import hashlib

import numpy as np
import pytest

from unmute_jax.datasets.annotations import stream as streams
from unmute_jax.datasets.annotations.stream import RecordingStream
from unmute_jax.errors import InputError

RATE = 8000


class Blocks:
    """Stands for a decoder that gives a recording in blocks of 1000 samples."""

    def __init__(self, path):
        self.path = path
        self.samples = np.load(path)
        self.sample_rate, self.seconds = RATE, len(self.samples) / RATE

    def __exit__(self, *_):
        self.samples = None

    def blocks(self):
        for start in range(0, len(self.samples), 1000):
            yield self.samples[start : start + 1000]


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "AudioFile", Blocks)
    x = np.random.default_rng(0).uniform(-1, 1, 10_500).astype(np.float32)
    np.save(tmp_path / "a.npy", x)
    return tmp_path / "a.npy", x


def test_stretches_are_those_of_the_recording(recording):
    path, x = recording
    stream = RecordingStream(path)
    assert stream.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    # Overlapping ones, gaps, the same one again, and the end.
    for start, end in [
        (0, 1500),
        (700, 2200),
        (700, 2200),
        (5100, 5200),
        (9000, 10500),
    ]:
        np.testing.assert_array_equal(stream.read(start, end), x[start:end])
        assert len(stream._buffer) < 2500
    stream.finish(len(x))


def test_a_wrong_length_is_found(recording):
    path, _ = recording
    with pytest.raises(InputError, match=r"a\.npy: holds 1\.3125 s, which is not what"):
        RecordingStream(path).read(9_000, 12_200)
    with pytest.raises(InputError, match=r"holds 1\.3125 s"):
        RecordingStream(path).read(10_500, 10_600)
    with pytest.raises(InputError, match=r"holds 1\.3125 s"):
        RecordingStream(path).finish(8000)


def test_a_header_may_count_the_padding_of_an_encoder_or_not(recording):
    path, x = recording
    np.testing.assert_array_equal(RecordingStream(path).read(9000, 12_000), x[9000:])
    RecordingStream(path).finish(len(x) - 1500)


def test_a_fault_behind_the_last_stretch_is_found(recording, monkeypatch):
    def broken(self):
        yield self.samples[:1000]
        raise InputError("is cut short")

    monkeypatch.setattr(Blocks, "blocks", broken)
    path, x = recording
    stream = RecordingStream(path)
    np.testing.assert_array_equal(stream.read(0, 900), x[:900])
    with pytest.raises(InputError, match="is cut short"):
        stream.finish(len(x))
