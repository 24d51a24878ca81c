"""BAT: its front ends, and the two kinds of padding."""

import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

TINY = {"width": 16, "depth": 1, "num_heads": 2}


def untrained(**options):
    return load_encoder("bat", weights="untrained", **TINY, **options)


def test_padding_of_the_waveform_and_of_the_spectrogram_are_two_things():
    arrays = golden.read(golden.MORE_ENCODERS / "frontend_bat.npz")
    wave, want = arrays["wav_noise"][None], arrays["input_noise"]
    rows = untrained(recipe="esc50")
    got = np.asarray(rows.frontend(wave)[0])
    assert got.shape == (512, 128)
    golden.assert_close(got[: len(want)], want, "input", atol=2e-4)
    np.testing.assert_array_equal(got[len(want) :], 0)
    # The same in a longer batch: the end of the clip is reflected.
    batch = np.full((1, 40000), 0.5, np.float32)
    batch[:, : wave.shape[1]] = wave
    again = rows.frontend(batch, [wave.shape[1]])[0]
    golden.assert_close(again, got, "in a batch", atol=1e-6)
    padded = np.pad(wave, ((0, 0), (0, 16000)))
    want = arrays["input_noise_wavepad_2s"]
    got = untrained(recipe="esc50", target_frames=208).frontend(padded)[0]
    golden.assert_close(got[: len(want)], want, "padded waveform", atol=2e-4)
    # The recipe of AudioSet pads the waveform, to 10.23 s.
    got = untrained().frontend(wave)[0]
    assert got.shape == (1024, 128)
    assert got[200:].max() == 0
    assert got[:100].min() > 0.1 > rows.frontend(wave)[0][:100].min()


def test_a_clip_is_normalised_before_its_spectrogram_is_cut():
    wave = np.random.default_rng(0).standard_normal((1, 120000), np.float32) / 100
    loud = np.concatenate([wave, 100 * wave[:, :40000]], axis=1)
    encoder = untrained(recipe="esc50")
    assert encoder.grid(10.0) == (32, 8)
    assert encoder.input_samples(10.0) == 160000
    cut, whole = encoder.frontend(wave)[0], encoder.frontend(loud)[0]
    assert whole.shape == (512, 128)
    assert cut.max() > 0.99
    assert whole.max() < 0.9


def test_silence_is_zero_and_birds_have_twice_the_rate():
    encoder = untrained(recipe="birdset")
    assert encoder.sample_rate == 32000
    assert encoder.geometry.seconds_per_step == 0.16
    assert 15000 < encoder.geometry.frequency_edges_hz[-1][1] < 16000
    np.testing.assert_array_equal(encoder.frontend(np.zeros((1, 32000), "f")), 0)
    with pytest.raises(InputError, match="did you mean 'birdset'"):
        untrained(recipe="birdsets")
