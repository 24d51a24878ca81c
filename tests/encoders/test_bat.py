"""BAT: its front ends, and the two kinds of padding."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from unmute_jax.audio.mel import band_decibels, mel_banks, mel_decibels, window
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

TINY = {"width": 16, "depth": 1, "num_heads": 2}
FRONT_END = golden.MORE_ENCODERS / "frontend_bat.npz"


def untrained(**options):
    return load_encoder("bat", weights="untrained", **TINY, **options)


# Stored input -> clip, recipe, frames of the input, and the first of the stored rows.
INPUTS = {
    "input_2s": ("wav_2s", "esc50", 512, 0),
    "input_2s_256": ("wav_2s", "esc50", 256, 0),
    "input_10s5": ("wav_10s5_int16", "esc50", 1056, 0),
    "input_10s5_1024": ("wav_10s5_int16", "esc50", 1024, 960),
    "input_noise": ("wav_noise", "esc50", 512, 0),
    "input_32k_1s": ("wav_32k_1s", "birdset", 512, 0),
}
STORED = golden.read(FRONT_END).keys()


def clip(arrays, name):
    """A stored waveform as a batch of one clip in [-1, 1]."""
    wave = arrays[name][None]
    return wave / np.float32(32768) if wave.dtype == np.int16 else wave


@pytest.mark.parametrize("name", [name for name in INPUTS if name in STORED])
def test_inputs_equal_the_reference(name):
    arrays, (wave, recipe, frames, start) = golden.read(FRONT_END), INPUTS[name]
    encoder = untrained(recipe=recipe, target_frames=frames)
    want = arrays[name]
    got = encoder.frontend(clip(arrays, wave))[0]
    got = np.asarray(got)[start:]
    golden.assert_close(got[: len(want)], want, name, atol=2e-4)
    # What is not stored is padding.
    assert not got[len(want) :].any()


@pytest.mark.parametrize("tag", ["2s", "noise", "10s5"])
def test_decibels_equal_the_reference(tag):
    arrays, filters = golden.read(FRONT_END), untrained().framing.filters
    if f"db_{tag}" in arrays:
        name = f"wav_{tag}" if f"wav_{tag}" in arrays else f"wav_{tag}_int16"
        wave = clip(arrays, name)
        got = mel_decibels(wave, filters)[0]
        golden.assert_close(got, arrays[f"db_{tag}"], f"db_{tag}", atol=1e-2)
        if f"power_{tag}" in arrays:
            half = filters.fft_size // 2
            padded = jnp.pad(wave, ((0, 0), (half, half)), mode="reflect")
            got = band_decibels(padded, filters, len(got))[0]
            want = 10 * np.log10(np.maximum(arrays[f"power_{tag}"], filters.floor))
            golden.assert_close(got, want, f"power_{tag} in dB", atol=1e-2)


def test_the_filters_equal_the_reference():
    arrays, filters = golden.read(FRONT_END), untrained().framing.filters
    if "mel_bank" in arrays:
        bank = arrays["mel_bank"]
        golden.assert_close(mel_banks(filters).T, bank[:, :-1], "mel bank", atol=2e-5)
        assert not bank[:, -1].any()
        golden.assert_close(window(filters), arrays["window"], "window", atol=1e-6)


def test_padding_of_the_waveform_and_of_the_spectrogram_are_two_things():
    arrays = golden.read(FRONT_END)
    wave = arrays["wav_noise"][None]
    rows = untrained(recipe="esc50")
    got = np.asarray(rows.frontend(wave)[0])
    assert got.shape == (512, 128)
    # The same in a longer batch: the end of the clip is reflected.
    batch = np.full((1, 40000), 0.5, np.float32)
    batch[:, : wave.shape[1]] = wave
    again = rows.frontend(batch, [wave.shape[1]])[0]
    np.testing.assert_allclose(again, got, atol=1e-6)
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
    stored = golden.read(FRONT_END)
    if "input_silence_1s" in stored:
        silence = np.zeros((1, 16000), np.float32)
        got = untrained(recipe="esc50").frontend(silence)[0, :101]
        np.testing.assert_array_equal(got, stored["input_silence_1s"])
    with pytest.raises(InputError, match="did you mean 'birdset'"):
        untrained(recipe="birdsets")
