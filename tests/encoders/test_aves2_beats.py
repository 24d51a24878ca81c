"""AVES2 with a BEATs: its stages, and samples of 32 kHz."""

import re

import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import captured
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

FILE = golden.MORE_ENCODERS / "aves2_beats_tiny.safetensors"


def test_every_stage_equals_the_reference():
    encoder = load_encoder("aves2_beats", FILE)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_beats_tiny.npz")
    got = captured(encoder, arrays["a_fbank_norm"])
    stages = {
        "a_enc_in": got["norm"]["__call__"][0],
        "a_attn0": got["blocks_0"]["attn"]["__call__"][0],
    }
    for k in range(encoder.network.sizes.depth):
        stages[f"a_block{k}"] = got[f"blocks_{k}"]["__call__"][0]
    assert {name for name in arrays if re.match("a_block", name)} <= {*stages}
    for name, stage in stages.items():
        want = arrays[name]
        got_stage = np.asarray(stage).reshape(want.shape)
        golden.assert_close(got_stage, want, name, atol=1e-4, rtol=1e-4)


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
