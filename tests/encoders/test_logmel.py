"""The encoder without weights."""

import numpy as np
import pytest

from unmute_jax.audio.kaldi import ENERGY_FLOOR
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.logmel import _bands
from unmute_jax.errors import InputError

SHAPE = (1, 40, 128)


@pytest.fixture
def spectrogram():
    return np.random.default_rng(0).standard_normal(SHAPE, np.float32)


def test_patches_are_cells_of_the_spectrogram(spectrogram):
    tokens = load_encoder("logmel").encode(spectrogram)
    assert tokens.patches.shape == (1, 2, 8, 256)
    cut = spectrogram[0, 16:32, 48:64]
    np.testing.assert_array_equal(tokens.patches[0, 1, 3].reshape(16, 16), cut)
    mean = np.asarray(tokens.patches).mean((1, 2))
    np.testing.assert_allclose(tokens.cls, mean, atol=1e-6)


def test_strides_overlap_the_patches(spectrogram):
    encoder = load_encoder("logmel", stride_time=8, stride_mel=4)
    tokens = encoder.encode(spectrogram)
    assert tokens.patches.shape == (1, 4, 29, 256)
    cut = spectrogram[0, 16:32, 20:36]
    np.testing.assert_array_equal(tokens.patches[0, 2, 5].reshape(16, 16), cut)
    assert encoder.geometry.seconds_per_step == 0.08
    assert len(encoder.geometry.frequency_edges_hz) == 29


def test_masked_steps_do_not_enter_the_mean():
    encoder = load_encoder("logmel", mask_padding=True)
    clip = np.random.default_rng(0).standard_normal((1, 32000), np.float32)
    tokens = encoder(clip, [16000])
    real = np.asarray(tokens.patches)[:, np.asarray(tokens.mask)[0]]
    assert real.shape[1] == 7
    np.testing.assert_allclose(tokens.cls, real.mean((1, 2)), atol=1e-5)


def test_frames_behind_the_clip_are_zero():
    encoder = load_encoder("logmel")
    spectrogram = np.asarray(encoder.frontend(np.ones((1, 32000), np.float32), [16000]))
    assert not spectrogram[:, 98:].any()
    assert (spectrogram[:, :98].std((0, 1)) < 1e-5).all()
    assert spectrogram[:, :98, 10:].max() < 0


def test_constants_are_finite_and_spare_the_empty_band():
    mean, std = _bands()
    assert mean.shape == std.shape == (128,)
    assert std.min() > 0.5
    assert mean[3] == pytest.approx(np.log(ENERGY_FLOOR), abs=1e-4)
    assert std[3] == 1


def test_wrong_calls_are_refused():
    with pytest.raises(InputError, match="at least 400 samples at 16000 Hz"):
        load_encoder("logmel").grid(0.01)
    with pytest.raises(InputError, match="has no weights"):
        load_encoder("logmel", "weights.pt")
    with pytest.raises(InputError, match="stride_time must be 1 to 16"):
        load_encoder("logmel", stride_time=17)
    with pytest.raises(InputError, match="option of encoder 'logmel'"):
        load_encoder("logmel", num_heads=4)
