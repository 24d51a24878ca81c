"""The checks that every encoder makes before it encodes."""

import numpy as np
import pytest

from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("logmel")


@pytest.mark.parametrize(
    ("waveform", "lengths", "message"),
    [
        (np.zeros(16000, np.float32), None, r"shape \[clips, samples\]"),
        (np.zeros((1, 16000), np.int16), None, "int16"),
        (np.zeros((1, 16000), np.float32), [16001], "numbers up to 16000"),
        (np.zeros((1, 16000), np.float32), [9, 9], "be 1 numbers up to 16000"),
        (np.zeros((2, 16000), np.float32), [16000, 10], "the shortest here has 10"),
    ],
)
def test_wrong_waveforms_are_refused(encoder, waveform, lengths, message):
    for call in (encoder, encoder.frontend):
        with pytest.raises(InputError, match=message):
            call(waveform, lengths)


def test_lists_and_float64_are_taken(encoder):
    noise = np.random.default_rng(0).standard_normal((1, 4000))
    want = encoder(noise.astype(np.float32)).patches
    np.testing.assert_array_equal(encoder(noise, [4000]).patches, want)
    np.testing.assert_array_equal(encoder(noise.tolist()).patches, want)


def test_an_encoder_without_a_head_gives_no_logits(encoder):
    with pytest.raises(InputError, match="no weights has no classification head"):
        encoder.logits(encoder(np.zeros((1, 4000), np.float32)))
