"""AVES2: the stages of its BEATs, the constants of its EAT, and its classifiers."""

import re

import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import captured
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

BEATS = golden.MORE_ENCODERS / "aves2_beats_tiny.safetensors"
EAT = golden.MORE_ENCODERS / "aves2_eat_tiny.safetensors"
TINY = {"width": 32, "depth": 1, "num_heads": 2}


def test_every_stage_of_beats_equals_the_reference():
    encoder = load_encoder("aves2_beats", BEATS)
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
    usual = load_encoder("aves2_beats", BEATS)
    other = load_encoder("aves2_beats", BEATS, recipe="32khz_as_16khz")
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
        load_encoder("aves2_beats", BEATS, recipe="32khz")


def test_eat_has_its_own_constants():
    front_end = golden.read(golden.MORE_ENCODERS / "frontend_aves2.npz")
    encoder = load_encoder("aves2_eat", weights="untrained", target_frames=256, **TINY)
    got = np.asarray(encoder.frontend(front_end["wav_2s"][None])[0])
    error = np.abs(got - front_end["eat_input_2s_256"])
    assert error.max() <= 1e-3
    assert error.mean() <= 1e-5
    np.testing.assert_allclose(got[-1], 5.553 / 9.212, atol=1e-6)
    assert load_encoder("aves2_eat", EAT, num_heads=4).framing.target_frames == 1024


def test_the_classifier_of_eat_reads_the_class_token_without_a_norm():
    encoder = load_encoder("aves2_eat", EAT, num_heads=4)
    arrays = golden.read(golden.MORE_ENCODERS / "aves2_eat_tiny.npz")
    tokens = encoder.encode(arrays["input_160"][:, 0], all_layers=True)
    golden.assert_close(
        encoder.logits(tokens), arrays["logits_160"], "logits", atol=2e-4
    )
    first = np.concatenate(
        [tokens.layer_cls[:, :1], np.asarray(tokens.layers)[:, 0].reshape(1, 80, 48)], 1
    )
    golden.assert_close(first, arrays["block0_160"], "block0", atol=2e-4)
