import numpy as np
import pytest

from unmute_jax.inference.recordings.band import NOTABLE_SHARE, BandMeter

NOISE = 0.1 * np.random.default_rng(0).standard_normal(16_000, np.float32)


def share_above(x, rate=44_100, highest=8000.0, block=10_000):
    meter = BandMeter(rate, highest)
    joined = np.concatenate(
        list(meter.measure(np.split(x, range(block, len(x), block))))
    )
    np.testing.assert_array_equal(joined, x)
    return meter.share_above


def test_energy_above_the_band_is_measured_as_a_share():
    t = np.arange(44_100) / 44_100
    low, high = (np.sin(2 * np.pi * hz * t).astype(np.float32) for hz in (500, 12_000))
    assert share_above(low + 0.3) < 1e-6
    assert share_above(high) > 1 - 1e-6
    assert share_above(2 * low + high) == pytest.approx(0.2, abs=0.01)
    assert share_above(2 * low + high) > NOTABLE_SHARE


def test_recordings_without_room_or_energy_are_not_measured():
    assert share_above(NOISE[:16_000], rate=16_000, highest=7900.0) is None
    assert share_above(np.zeros(44_100, np.float32)) is None
    assert share_above(NOISE[:100]) is None
