"""Encoders that were written for X-ARES: tokens, keys and mistakes."""

import numpy as np
import pytest

from tests.encoders.custom_encoders import HOP, RATE, Spectral
from unmute_jax import load_encoder
from unmute_jax.errors import InputError

MODULE = "xares:tests.encoders.test_xares_encoders"


class SpectralEncoder:
    sampling_rate, output_dim, hop_size_in_ms = RATE, 16, 1000 * HOP / RATE

    def __init__(self, checkpoint=None, gain=1.0):
        self.gain = gain if checkpoint is None else float(np.loadtxt(checkpoint))

    def __call__(self, audio):
        x = self.gain * Spectral.spectra(audio)
        return x.reshape(*x.shape[:2], -1)


class WrongWidthEncoder(SpectralEncoder):
    output_dim = 17


class PooledEncoder(SpectralEncoder):
    def __call__(self, audio):
        return super().__call__(audio).mean(1)


class StandingEncoder(SpectralEncoder):
    hop_size_in_ms = 0


class BareEncoder:
    pass


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal((3, 2 * RATE), np.float32) / 10


def test_embeddings_are_tokens_of_one_band_and_their_mean(tmp_path, waveform):
    encoder = load_encoder(f"{MODULE}:SpectralEncoder", mask_padding=True)
    tokens = encoder(waveform, np.array([2000, 1501, 90]))
    spectra = Spectral.spectra(waveform)
    np.testing.assert_array_equal(tokens.patches[:, :, 0], spectra.reshape(3, 20, -1))
    np.testing.assert_array_equal(tokens.mask.sum(1), [20, 16, 1])
    np.testing.assert_allclose(
        tokens.cls[1], tokens.patches[1, :16].mean((0, 1)), atol=1e-6
    )
    assert encoder.geometry.seconds_per_step == pytest.approx(0.1)
    assert (encoder.sample_rate, encoder.num_features) == (RATE, 16)


def test_weights_and_options_reach_the_class_and_the_key(tmp_path, waveform):
    (tmp_path / "w.txt").write_text("2.0")
    plain = load_encoder(f"{MODULE}:SpectralEncoder")
    loud = load_encoder(f"{MODULE}:SpectralEncoder:{tmp_path}/w.txt")
    option = load_encoder(f"{MODULE}:SpectralEncoder", gain=2.0)
    for encoder in (loud, option):
        np.testing.assert_array_equal(
            encoder(waveform).patches, 2 * plain(waveform).patches
        )
        assert encoder.identity() != plain.identity()
    assert loud.weights.startswith("sha256:")
    assert str(tmp_path) not in str(loud.identity())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("WrongWidthEncoder", {}, r"\[1, 20, 16\]: they must be .* with 17 features"),
        ("PooledEncoder", {}, r"shape \[1, 16\]: they must be \[clips, time, feat"),
        ("StandingEncoder", {}, "positive number as its hop_size_in_ms, not 0"),
        ("BareEncoder", {}, "positive number as its sampling_rate, not None"),
        ("BareEncoder:w.pt", {}, "BareEncoder of .* cannot be made: .*argument"),
        ("SpectralEncoder:gone.pt", {}, "cannot open its weights: .*gone.pt"),
        ("SpectralEncoder", {"gian": 2}, "did you mean 'gain'"),
        ("SpectralEncode", {}, "did you mean 'SpectralEncoder'"),
        ("", {}, "does not name an encoder of X-ARES: xares:MODULE:CLASS or xar"),
    ],
)
def test_what_is_no_encoder_of_x_ares_is_refused_in_one_line(name, options, message):
    with pytest.raises(InputError, match=message) as caught:
        load_encoder(f"{MODULE}:{name}", **options).grid(2.0)
    assert "\n" not in str(caught.value)
