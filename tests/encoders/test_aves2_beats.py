"""AVES2 with a BEATs: its stages, and samples of 32 kHz."""

import re

import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import (
    check_beats_stages,
    check_filters,
    check_front_end,
)
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

FILE = golden.MORE_ENCODERS / "aves2_beats_tiny.safetensors"


def test_every_stage_equals_the_reference():
    encoder = load_encoder("aves2_beats", FILE)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_beats_tiny.npz")
    prefixes = [m[1] for name in arrays if (m := re.match(r"(\w)_block0", name))]
    assert "a" in prefixes
    for prefix in prefixes:
        check_beats_stages(encoder, arrays, prefix, atol=1e-4, rtol=1e-4)


def test_the_front_end_equals_the_reference():
    arrays = golden.read(golden.MORE_ENCODERS / "frontend_aves2.npz")
    encoder = load_encoder(
        "aves2_beats", weights="untrained", width=16, depth=1, num_heads=1
    )
    if "beats_fbank_window" in arrays:
        check_filters(
            encoder.filters,
            arrays["beats_fbank_mel_fb"].T,
            arrays["beats_fbank_window"],
        )
    for name in [name for name in arrays if name.startswith("beats_input_")]:
        wave = arrays[name.replace("beats_input", "wav")]
        got = encoder.frontend(wave[None])[0]
        # The tolerance of log-mels, which normalising divides by 13.1.
        check_front_end(got, arrays[name], name, atol=0.1 / 13.1, mean=1e-4 / 13.1)


def test_samples_of_32_khz_go_through_the_filter_bank_for_16_khz():
    usual = load_encoder("aves2_beats", FILE)
    other = load_encoder("aves2_beats", FILE, recipe="32khz_as_16khz")
    wave = np.random.default_rng(0).standard_normal((1, 16000), np.float32) / 10
    np.testing.assert_array_equal(other(wave).patches, usual(wave).patches)
    assert (other.sample_rate, usual.sample_rate) == (32000, 16000)
    assert other.geometry.seconds_per_step == 0.08
    assert other.grid(5.0) == (62, 8)
    edges = zip(
        other.geometry.frequency_edges_hz,
        usual.geometry.frequency_edges_hz,
        strict=True,
    )
    for high, low in edges:
        np.testing.assert_allclose(high, 2 * np.array(low))
    assert other.identity() != usual.identity()
    with pytest.raises(InputError, match="or '32khz_as_16khz'"):
        load_encoder("aves2_beats", FILE, recipe="32khz")
