"""Notes on clips say what is unusual, and nothing where nothing is."""

import numpy as np
import pytest

from unmute_jax.datasets.clips import Clip
from unmute_jax.datasets.statistics import Statistics

RATE = 8000


def statistics(*waveforms, rates=(), splits=(), digests=(), labels=()):
    found = Statistics()
    for i, x in enumerate(waveforms):
        rate = rates[i] if rates else RATE
        clip = Clip(
            id=str(i),
            waveform=np.asarray(x, np.float32),
            sample_rate=rate,
            labels=labels[i] if labels else (),
        )
        found.add(
            splits[i] if splits else "train", clip, digests[i] if digests else f"{i}"
        )
    return found


def tone(peak, samples=RATE):
    return peak * np.sin(2 * np.pi * 440 * np.arange(samples) / RATE)


def test_ordinary_clips_have_no_notes():
    found = statistics(tone(0.5), tone(0.99), tone(3e-5), [-1.0, 1.0])
    assert list(found.notes()) == []
    assert found.sample_rates == {RATE: 4}


def test_clips_are_counted_by_class():
    found = statistics(*[tone(0.5)] * 4, labels=((0,), (0, 2), (), (2,)))
    assert found.clips_per_class == {0: 2, 2: 2}


def test_lengths_are_counted_by_split():
    splits = ("train", "test", "train", "train")
    samples = (8000, 8000, 8000, 12_345)
    found = statistics(*map(np.zeros, samples), splits=splits, rates=(RATE,) * 4)
    assert found.durations == {"train": {1.0: 2, 1.543: 1}, "test": {1.0: 1}}
    assert found.clip_seconds == 12_345 / RATE


def test_rates_are_counted_if_there_are_several():
    found = statistics(*[tone(0.5)] * 3, rates=(48_000, 8000, 48_000))
    note = "sample rates differ: 8,000 Hz (1 clips), 48,000 Hz (2 clips)"
    assert list(found.notes()) == [note]


@pytest.mark.parametrize(
    ("labels", "is_told"),
    [
        (((0,), (1,), (2,)), True),
        (((0,), (1,), (0, 2)), True),
        (((0,), (0,), (1,)), False),
        (((), (), ()), False),
    ],
)
def test_rates_that_tell_the_class_are_told(labels, is_told):
    rates = (8000, 48_000, 8000)
    found = statistics(*[tone(0.5)] * 3, rates=rates, labels=labels)
    assert any("learn the rate" in note for note in found.notes()) == is_told
    found = statistics(*[tone(0.5)] * 3, labels=labels)
    assert list(found.notes()) == []


def square(peak, dtype=np.float32):
    return np.clip(3 * tone(peak), -peak, peak).astype(dtype)


@pytest.mark.parametrize(
    ("waveform", "note"),
    [
        (np.zeros(10), "1 clip is silent, or quieter than 16 bits can tell"),
        (np.full(10, 0.01), "1 clip is silent"),
        (tone(6e-6), "1 clip is silent"),
        (1.08 * tone(1.0), "1 clip is beyond [-1, 1], with samples of up to 1.08"),
        (square(1.0), "1 clip is clipped, with runs of samples at full scale"),
        # The highest sample of 16 bits and that of 8 bits in mu-law.
        (np.minimum(3 * tone(1.0), 32767 / 32768)[: RATE // 880], "1 clip is clipped"),
        (np.maximum(tone(1.5), -32124 / 32768).clip(max=0.5), "1 clip is clipped"),
    ],
)
def test_each_fault_of_a_clip_is_noted(waveform, note):
    (found,) = statistics(waveform).notes()
    assert found.startswith(note)


def test_integers_that_were_saved_as_floats_are_told():
    loud = np.round(tone(30_000))
    notes = list(statistics(loud, loud, tone(0.3)).notes())
    assert notes[0] == "2 clips are beyond [-1, 1], with samples of up to 30,000"
    assert notes[1].startswith("samples that large look like integers")


def test_few_samples_at_full_scale_are_no_clipping():
    x = np.tile([0.0, 1.0, 1.0, 1.0, 0.0, -1.0, -1.0, -1.0], 1000)
    assert list(statistics(x).notes()) == []


def test_files_whose_channels_cancel_are_counted_once():
    found = statistics(tone(0.5))
    for name in ("a", "b", "a"):
        found.cancelling.add(name)
    (note,) = found.notes()
    assert note.startswith("files whose channels cancel each other out")
    assert note.endswith(": 2")


def test_repeated_audio_is_counted():
    splits, digests = ("train", "test", "train"), ("a", "a", "a")
    found = statistics(*[tone(0.5)] * 3, splits=splits, digests=digests)
    assert list(found.notes()) == [
        "1 clips have the same audio as a clip of another split",
        "1 clips have the same audio as another clip of their split",
    ]
