"""Changing the rate and the length of waveforms."""

import numpy as np
import pytest

from unmute_jax.audio.resample import pad_or_crop, resample, resample_blocks

RATE = 48_000


def tone(rate, hz=440.0):
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(rate) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_the_sound(rate):
    x = resample(tone(rate), rate, 16_000)
    assert abs(len(x) - 16_000) <= 1
    inner = slice(1000, 15_000)
    np.testing.assert_allclose(x[inner], tone(16_000)[inner], atol=2e-3)


def test_resampling_removes_frequencies_above_the_new_nyquist():
    low = resample(tone(RATE, hz=11_000), RATE, 16_000)
    assert np.abs(low[1000:-1000]).max() < 1e-3


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_resampling_in_blocks_changes_no_bit(rate):
    x = np.random.default_rng(0).standard_normal(rate + 17, np.float32)
    parts = np.split(x, [1, 300, 5_000])
    joined = np.concatenate(list(resample_blocks(parts, rate, 16_000)))
    np.testing.assert_array_equal(joined, resample(x, rate, 16_000))


@pytest.mark.parametrize(
    ("samples", "expected", "length"),
    [(5, [1, 2, 3, 0, 0], 3), (2, [1, 2], 2), (3, [1, 2, 3], 3)],
)
def test_waveforms_are_padded_with_zeros_or_cropped(samples, expected, length):
    y, count = pad_or_crop(np.array([1.0, 2.0, 3.0], np.float32), samples)
    np.testing.assert_array_equal(y, np.array(expected, np.float32))
    assert count == length
    assert y.dtype == np.float32
