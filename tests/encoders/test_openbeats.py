"""OpenBEATs: its stages, short clips, padding and the constants of its front end."""

import re

import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_beats_stages
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch

ATOL, RTOL = 1e-4, 1e-4
FILE = golden.MORE_ENCODERS / "openbeats_tiny.pt"
FILES = [
    file
    for file in (FILE.name, "openbeats_stats_tiny.pt", "openbeats_espnet_tiny.pth")
    if (golden.MORE_ENCODERS / file).is_file()
]


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.MORE_ENCODERS / "openbeats_tiny.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("openbeats", FILE)


@pytest.fixture
def load_with(monkeypatch):
    """Loads the file with other entries in its configuration."""
    content = read_torch(FILE)

    def load(**entries):
        changed = {**content, "cfg": content["cfg"] | entries}
        monkeypatch.setattr("unmute_jax.weights.files.read_torch", lambda path: changed)
        return load_encoder("openbeats", FILE)

    return load


@pytest.mark.parametrize("file", FILES)
def test_every_stage_equals_the_reference(file):
    encoder = load_encoder("openbeats", golden.MORE_ENCODERS / file)
    arrays = golden.read((golden.MORE_ENCODERS / file).with_suffix(".npz"))
    prefixes = [m[1] for name in arrays if (m := re.match(r"(\w)_block0", name))]
    assert "a" in prefixes
    for prefix in prefixes:
        check_beats_stages(encoder, arrays, prefix, atol=ATOL, rtol=RTOL)


def test_a_short_clip_is_repeated_and_not_padded(encoder, arrays):
    wave = arrays["s_wave"]
    assert len(wave) < 3200
    tokens = encoder(wave[None])
    assert tokens.patches.shape[1:3] == encoder.grid(len(wave) / 16000) == (1, 8)
    got = np.asarray(tokens.patches).reshape(arrays["s_tokens"].shape)
    golden.assert_close(got, arrays["s_tokens"], "tokens", atol=1e-2, rtol=RTOL)
    golden.assert_close(tokens.cls, arrays["s_mean"], "mean", atol=1e-2, rtol=RTOL)
    # In a longer batch as well: behind the repeated sound there is silence.
    masked = load_encoder("openbeats", FILE, attention_mask=True)
    padded = np.zeros((1, 9000), np.float32)
    padded[0, : len(wave)] = wave
    batch = masked(padded, [len(wave)])
    assert np.asarray(batch.mask).sum() == 1
    np.testing.assert_allclose(batch.patches[:, :1], tokens.patches, atol=1e-5)


def test_a_clip_has_the_same_tokens_alone_and_padded(arrays):
    masked = load_encoder("openbeats", FILE, attention_mask=True)
    wave = arrays["a_wave"][None]
    for cut in (16000, 16239, 9001):
        alone = masked(wave[:, :cut])
        padded = masked(wave, [cut])
        steps = 1 + (cut - 400) // 160
        assert np.asarray(padded.mask).sum() == steps // 16
        close = padded.patches[:, : steps // 16]
        np.testing.assert_allclose(close, alone.patches, atol=2e-5)
    if "m_wave" in arrays:
        tokens = masked(arrays["m_wave"], arrays["m_lengths"])
        got = np.asarray(tokens.patches).reshape(arrays["m_tokens"].shape)
        for row, count in enumerate(arrays["m_token_lengths"]):
            want = arrays["m_tokens"][row, :count]
            golden.assert_close(got[row, :count], want, "padded", atol=1e-2)


def test_the_constants_of_the_front_end_are_those_of_the_file(load_with, encoder):
    other = load_with(fbank_mean=15.66439, fbank_std=6.38312)
    wave = np.random.default_rng(0).standard_normal((1, 8000), np.float32) / 10
    logmel = encoder.frontend(wave) * 2 * 6.55582 + 15.41663
    want = (logmel - 15.66439) / (2 * 6.38312)
    np.testing.assert_allclose(other.frontend(wave), want, atol=1e-5)
    for entries in ({"fbank_std": 0.0}, {"fbank_mean": float("nan")}):
        with pytest.raises(InputError, match=r"fbank_(mean|std) cannot be"):
            load_with(**entries)


def test_what_a_configuration_leaves_out_is_not_the_published_network(load_with):
    with pytest.raises(InputError, match=r"another network.*deep_norm False"):
        load_with(deep_norm=False)
    assert load_with(max_distance=1280).network.sizes.max_distance == 1280
