"""The Kaldi filter bank against librosa and the reference, and its padding."""

import jax
import librosa
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_filters
from unmute_jax.audio.kaldi import (
    ENERGY_FLOOR,
    KaldiFbank,
    kaldi_fbank,
    mel_banks,
    window,
    zero_behind,
)

# The constants of EAT, SSLAM, AudioMAE and ASiT.
FBANK = KaldiFbank(num_mels=128, window="hann")
ATOL = 2e-3

compiled = jax.jit(kaldi_fbank, static_argnums=1)


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.ENCODERS / "frontend_eat.npz")


@pytest.fixture
def noise():
    return np.random.default_rng(0).standard_normal((3, 80000), np.float32) / 10


def test_log_mels_equal_the_reference(arrays):
    names = [name.removeprefix("fbank_") for name in arrays if "fbank_" in name]
    assert names
    for name in names:
        got = compiled(arrays[f"wav_{name}"][None], FBANK)[0]
        want = arrays[f"fbank_{name}"]
        golden.assert_close(got, want, f"fbank_{name}", atol=ATOL)
        # Digital silence and the band without a bin are exactly at the floor.
        floor = want == want.min()
        assert floor.any()
        np.testing.assert_array_equal(
            np.asarray(got)[floor], np.float32(np.log(ENERGY_FLOOR))
        )


def test_filters_and_window_equal_the_reference(arrays):
    check_filters(FBANK, arrays["mel_banks"], arrays["window"])
    assert not mel_banks(FBANK)[3].any()


def test_corners_of_the_filters_are_those_of_librosa():
    corners = librosa.mel_frequencies(
        FBANK.num_mels + 2, fmin=FBANK.low_hz, fmax=FBANK.high_hz, htk=True
    )
    bins = librosa.fft_frequencies(sr=FBANK.sample_rate, n_fft=FBANK.fft_size)[:-1]
    banks = mel_banks(FBANK)
    # librosa's triangles are linear in Hz and Kaldi's are linear on the mel scale. So
    # their supports agree, and their weights once Kaldi's are computed from the mels.
    with pytest.warns(UserWarning, match="Empty filters"):
        linear_in_hz = librosa.filters.mel(
            sr=FBANK.sample_rate,
            n_fft=FBANK.fft_size,
            n_mels=FBANK.num_mels,
            fmin=FBANK.low_hz,
            fmax=FBANK.high_hz,
            htk=True,
            norm=None,
        )[:, :-1]
    np.testing.assert_array_equal(banks > 0, linear_in_hz > 0)
    np.testing.assert_allclose(banks, linear_in_hz, atol=5e-3)
    assert np.abs(banks - linear_in_hz).max() > 1e-3
    mels, edges = (librosa.hz_to_mel(hz, htk=True) for hz in (bins, corners))
    left, centre, right = (edges[k : k + FBANK.num_mels, None] for k in range(3))
    rising, falling = (mels - left) / (centre - left), (right - mels) / (right - centre)
    wanted = np.maximum(0, np.minimum(rising, falling))
    np.testing.assert_allclose(banks, wanted, atol=1e-12)


def test_povey_window_is_the_hann_window_to_the_power_085():
    povey = window(KaldiFbank(num_mels=128, window="povey"))
    hann = librosa.filters.get_window("hann", FBANK.frame_length, fftbins=False)
    np.testing.assert_allclose(povey, np.maximum(hann, 0) ** 0.85, atol=1e-12)


def test_offset_of_a_clip_does_not_matter(noise):
    # The references subtract the mean of the clip; here that of each frame is enough.
    shifted = noise + np.float32(0.3)
    np.testing.assert_allclose(
        compiled(shifted, FBANK), compiled(noise, FBANK), rtol=0, atol=1e-3
    )


def test_batched_equals_single(noise):
    singles = [compiled(clip[None], FBANK)[0] for clip in noise]
    np.testing.assert_allclose(compiled(noise, FBANK), singles, rtol=0, atol=1e-6)


def test_samples_behind_a_clip_change_no_frame_of_it(noise):
    alone = compiled(noise[:, :60000], FBANK)
    longer = compiled(noise, FBANK)[:, : alone.shape[1]]
    np.testing.assert_allclose(longer, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [0, 399, 400, 559, 560, 16000])
def test_frames_are_the_complete_ones(samples):
    got = kaldi_fbank(np.zeros((2, samples), np.float32), FBANK)
    want = max(0, (samples - 400) // 160 + 1)
    assert got.shape == (2, want, 128)
    assert FBANK.num_frames(samples) == want
    assert FBANK.real_frames(np.array([samples])).tolist() == [want]
    if want:
        assert FBANK.num_samples(want) <= samples < FBANK.num_samples(want + 1)


def test_rows_behind_the_clip_are_set_to_zero():
    rows = np.broadcast_to(np.arange(1, 6, dtype=np.float32), (3, 5))
    want = [[0, 0, 0, 0, 0], [1, 2, 3, 4, 0], [1, 2, 3, 4, 5]]
    counts = np.array([0, 4, 9])
    assert zero_behind(rows, counts).tolist() == want
    assert zero_behind(rows[:, :, None, None], counts)[:, :, 0, 0].tolist() == want


def test_band_edges_are_shared_and_match_the_centres(arrays):
    low, high = FBANK.band_edges_hz(0, 16)
    assert FBANK.band_edges_hz(16, 32)[0] == high
    centres = arrays["mel_center_hz"]
    assert 20 < low < centres[0]
    assert centres[15] < high < centres[16]
