"""Mel spectrograms in decibels against librosa and against the reference of Dasheng."""

import re

import jax
import librosa
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_front_end
from unmute_jax.audio.mel import SlaneyDecibels, mel_banks, mel_decibels, window
from unmute_jax.weights.dasheng import MEL

compiled = jax.jit(mel_decibels, static_argnums=(1, 2))


@pytest.fixture(scope="module")
def front_end():
    return golden.read(golden.ENCODERS / "frontend_dasheng.npz")


def noise(samples=8000):
    return np.random.default_rng(0).standard_normal((1, samples), np.float32) / 10


def check_errors(got, want, what):
    check_front_end(got, want, what, atol=1e-2, mean=1e-4)


def test_filters_are_those_of_librosa():
    wanted = librosa.filters.mel(
        sr=MEL.sample_rate,
        n_fft=MEL.fft_size,
        n_mels=MEL.num_mels,
        fmin=0.0,
        fmax=MEL.high_hz,
        htk=True,
        norm=None,
        dtype=np.float64,
    )
    np.testing.assert_allclose(mel_banks(MEL), wanted.T[:-1], atol=1e-12)
    # The Nyquist bin, which is left out here, has no weight in any band.
    np.testing.assert_allclose(wanted[:, -1], 0, atol=1e-12)
    hann = librosa.filters.get_window("hann", MEL.fft_size, fftbins=True)
    np.testing.assert_allclose(window(MEL), hann, atol=1e-12)


@pytest.mark.parametrize("mels", [80, 128])
def test_filters_on_slaneys_scale_are_those_of_librosa(mels):
    options = SlaneyDecibels(
        num_mels=mels,
        high_hz=8000.0,
        sample_rate=16000,
        fft_size=400,
        frame_shift=160,
        floor=1e-10,
        range_db=80.0,
    )
    wanted = librosa.filters.mel(sr=16000, n_fft=400, n_mels=mels, dtype=np.float64)
    np.testing.assert_allclose(mel_banks(options), wanted.T[:-1], atol=1e-12)
    # The Nyquist bin, which is left out here, has no weight in any band.
    np.testing.assert_allclose(wanted[:, -1], 0, atol=1e-12)


def test_decibels_are_those_of_librosa():
    clip = noise(16000)[0]
    clip[8000:] = 0
    power = librosa.feature.melspectrogram(
        y=clip,
        sr=MEL.sample_rate,
        n_fft=MEL.fft_size,
        hop_length=MEL.frame_shift,
        n_mels=MEL.num_mels,
        fmax=MEL.high_hz,
        htk=True,
        norm=None,
        center=True,
        pad_mode="reflect",
    )
    wanted = librosa.power_to_db(power, amin=MEL.floor, top_db=MEL.range_db)
    got = compiled(clip[None], MEL, "clip")[0]
    np.testing.assert_allclose(got, wanted.T, atol=1e-4)


def test_filters_and_window_equal_the_reference(front_end):
    golden.assert_close(window(MEL), front_end["window"], "window", atol=1e-6)
    bank = front_end["mel_bank"][:-1]
    golden.assert_close(mel_banks(MEL), bank, "mel bank", atol=2e-5)
    assert not front_end["mel_bank"][-1].any()


def test_decibels_equal_the_reference(front_end):
    names = [m[1] for name in front_end if (m := re.fullmatch(r"wave_(\w+)", name))]
    assert names
    for name in names:
        want = front_end[f"logmel_{name}"].T
        got = np.asarray(compiled(front_end[f"wave_{name}"][None], MEL, "clip"))[0]
        check_errors(got, want, f"logmel_{name}")
        # Digital silence lies exactly at the clamp.
        silence = want == want.max() - MEL.range_db
        assert silence.any()
        np.testing.assert_array_equal(got[silence], got.max() - MEL.range_db)


def test_the_maximum_is_that_of_the_clip_or_of_the_batch(front_end):
    alone = front_end["batch_logmel_one_by_one"].swapaxes(1, 2)
    together = front_end["batch_logmel"].swapaxes(1, 2)
    assert np.abs(alone - together).max() > 1
    check_errors(compiled(front_end["batch_wave"], MEL, "clip"), alone, "one by one")
    check_errors(compiled(front_end["batch_wave"], MEL, "batch"), together, "batch")


@pytest.mark.parametrize("samples", [257, 480, 16000, 32159, 32160])
def test_frames_are_centred(samples):
    frames = 1 + samples // 160
    shape = jax.eval_shape(lambda x: mel_decibels(x, MEL), noise(samples)).shape
    assert shape == (1, frames, 64)
    assert MEL.num_frames(samples) == frames
    assert samples >= MEL.num_samples(frames) > samples - 160 or samples == 257


def test_real_frames_hold_no_sample_behind_the_clip():
    clip = noise()
    for length in (256, 257, 416, 417, 5000):
        (real,) = MEL.real_frames(np.array([length]))
        other = np.where(np.arange(8000) < length, clip, clip[:, ::-1])
        change = np.abs(compiled(clip, MEL, "clip") - compiled(other, MEL, "clip"))[0]
        assert (change[:real] < 1e-3).all()
        assert change[real + 1 :].max() > 1
