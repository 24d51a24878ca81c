"""What encoders with a spectrogram share: compiled programs, masks and means."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.store.fakes import RATE, F, T, fake_encoder
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.spectrogram_encoder import mean_tokens
from unmute_jax.errors import InputError


def noise(clips=3):
    return np.random.default_rng(0).standard_normal((clips, RATE), np.float32)


def test_one_compilation_serves_all_lengths():
    encoder = fake_encoder()
    for length in (100, 400, None):
        encoder(noise(1), None if length is None else [length])
    assert encoder._apply._cache_size() == 1


def test_masks_follow_the_option():
    lengths = np.array([RATE, RATE // 2, 1], np.int32)
    masked = fake_encoder(mask_padding=True)(noise(), lengths).mask
    assert masked.sum(1).tolist() == [T, -(-T // 2), 0]
    assert fake_encoder(mask_padding=False)(noise(), lengths).mask.all()


def test_facts_come_from_the_front_end():
    encoder = fake_encoder()
    assert (encoder.sample_rate, encoder.min_samples) == (RATE, 1)
    assert encoder.num_layers == 2
    assert encoder.geometry.seconds_per_step == 1 / T


def test_spectrograms_that_do_not_fit_are_refused():
    encoder = load_encoder("logmel")
    with pytest.raises(
        InputError, match="at least 16 frames of 128 mel bands; got 100"
    ):
        encoder.encode(np.zeros((1, 100, 7), np.float32))


def test_means_take_the_place_of_class_tokens():
    noise = np.random.default_rng(0).standard_normal((2, T, F, 3), np.float32)
    patches = jnp.asarray(noise)
    mask = np.zeros((2, T, F), bool)
    mask[0, :2, 0] = True
    tokens = mean_tokens(patches, mask, [2 * patches, patches])
    np.testing.assert_allclose(tokens.cls[0], patches[0, :2, 0].mean(0), atol=1e-6)
    np.testing.assert_array_equal(tokens.cls[1], 0)
    np.testing.assert_allclose(tokens.layer_cls[:, 0], 2 * tokens.cls, atol=1e-6)
    assert tokens.mask.sum(1).tolist() == [2, 0]
