"""BAT: its stages, its chunks, and the two kinds of padding."""

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import applied, captured
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

ATOL, RTOL = 1e-4, 1e-4
FILE = golden.MORE_ENCODERS / "bat_tiny.safetensors"
TINY = {"width": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bat", FILE)


def untrained(**options):
    return load_encoder("bat", weights="untrained", **TINY, **options)


def test_every_stage_equals_the_reference(encoder):
    arrays = golden.read(golden.MORE_ENCODERS / "bat_tiny.npz")
    lengths = [name.removeprefix("x_") for name in arrays if name.startswith("x_")]
    assert lengths
    for length in lengths:
        x = jax.numpy.asarray(arrays[f"x_{length}"][:, 0])
        stages = {"patch_embed": applied(encoder, x, method="embed_patches")}
        if int(length) <= 1024:
            got = captured(encoder, x)
            stages["pre_norm"] = got["pre_norm"]["__call__"][0]
            stages["attn0"] = got["blocks_0"]["attn"]["__call__"][0]
        tokens = encoder.encode(x, all_layers=True)
        b, l, t, f, d = tokens.layers.shape
        for k in range(l):
            stages[f"block{k}_cls"] = tokens.layer_cls[:, k]
            stages[f"block{k}_patches"] = tokens.layers[:, k].reshape(b, t * f, d)
        found = [name for name in stages if f"{name}_{length}" in arrays]
        assert len(found) >= 3
        for name in found:
            want = arrays[f"{name}_{length}"]
            golden.assert_close(stages[name], want, name, atol=ATOL, rtol=RTOL)


def test_longer_inputs_are_encoded_in_chunks_with_one_vote_each(encoder):
    x = np.random.default_rng(0).uniform(size=(1, 1024 + 336, 128)).astype(np.float32)
    whole = encoder.encode(x)
    first, second = encoder.encode(x[:, :1024]), encoder.encode(x[:, 1024:])
    patches = np.concatenate([first.patches, second.patches], axis=1)
    golden.assert_close(whole.patches, patches, "patches", atol=1e-5)
    mean = (np.asarray(first.cls) + np.asarray(second.cls)) / 2
    golden.assert_close(whole.cls, mean, "cls", atol=1e-5)


def test_padding_of_the_waveform_and_of_the_spectrogram_are_two_things():
    arrays = golden.read(golden.MORE_ENCODERS / "frontend_bat.npz")
    wave, want = arrays["wav_noise"][None], arrays["input_noise"]
    rows = untrained(recipe="esc50")
    got = np.asarray(rows.frontend(wave)[0])
    assert got.shape == (512, 128)
    golden.assert_close(got[: len(want)], want, "input", atol=2e-4)
    np.testing.assert_array_equal(got[len(want) :], 0)
    # The same in a longer batch: the end of the clip is reflected.
    batch = np.full((1, 40000), 0.5, np.float32)
    batch[:, : wave.shape[1]] = wave
    again = rows.frontend(batch, [wave.shape[1]])[0]
    golden.assert_close(again, got, "in a batch", atol=1e-6)
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
    with pytest.raises(InputError, match="did you mean 'birdset'"):
        untrained(recipe="birdsets")
