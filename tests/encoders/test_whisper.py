"""Whisper: its front end, the tokens that padding leaves behind, and real weights."""

import dataclasses
import pathlib
import re

import jax
import numpy as np
import pytest
import soundfile

from tests import golden
from tests.encoders.stages import WHISPER_CLIPS
from unmute_jax.audio.mel import mel_banks, window
from unmute_jax.encoders import load_encoder

FILE = golden.MORE_ENCODERS / "whisper_tiny.pt"
FILE_30S = golden.MORE_ENCODERS / "whisper_tiny_30s.pt"
# Stored spectrogram -> its file.
SPECTROGRAMS = {
    name: file
    for file in sorted(golden.MORE_ENCODERS.glob("frontend_whisper*.npz"))
    for name in golden.read(file)
    if re.fullmatch(r"mel\d+_\w+", name)
}
TINY = {"width": 16, "depth": 1, "num_heads": 2}
# Weights are not part of this repository, but may lie beside it.
WEIGHTS = pathlib.Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("whisper", FILE)


def untrained(**options):
    return load_encoder("whisper", weights="untrained", **TINY, **options)


def clip(seconds, seed=0):
    samples = round(16000 * seconds)
    return np.random.default_rng(seed).standard_normal((1, samples), np.float32) / 10


@pytest.mark.parametrize("name", SPECTROGRAMS)
def test_the_front_end_equals_the_reference(name):
    front_end = golden.read(SPECTROGRAMS[name])
    mels, wave = name.removeprefix("mel").split("_")
    # The weights, and with them the number of bands, do not matter here.
    encoder = untrained(mask_padding=False)
    if int(mels) != encoder.framing.filters.num_mels:
        encoder = load_encoder("whisper", FILE_30S)
    samples = front_end[f"wav_{wave}_int16"][None] / np.float32(32768)
    got, want = encoder.frontend(samples)[0], front_end[name].T
    assert got.shape == (3000, int(mels))
    golden.assert_close(got[: len(want)], want, name, atol=3e-4)


@pytest.mark.parametrize("mels", [80, 128])
def test_the_filters_equal_the_reference(mels):
    front_end = golden.read(golden.MORE_ENCODERS / "frontend_whisper.npz")
    filters = dataclasses.replace(untrained().framing.filters, num_mels=mels)
    banks = front_end[f"mel_banks_{mels}"]
    golden.assert_close(mel_banks(filters).T, banks[:, :-1], "mel banks", atol=2e-5)
    # Up to rounding in the reference, the last bin has no weight.
    assert banks[:, -1].max() < 1e-9
    golden.assert_close(window(filters), front_end["window"], "window", atol=1e-6)


@pytest.mark.parametrize(("file", "tag"), WHISPER_CLIPS)
def test_tokens_behind_a_clip_are_left_out(file, tag):
    arrays = golden.read(golden.MORE_ENCODERS / f"{file}.npz")
    encoder = load_encoder("whisper", golden.MORE_ENCODERS / f"{file}.pt")
    tokens = encoder(arrays[f"wav_{tag}"][None])
    real = int(arrays[f"real_tokens_{tag}"])
    assert tokens.patches.shape[1] == real
    assert np.asarray(tokens.mask).all()
    want = arrays[f"tokens_{tag}"][:, :real]
    golden.assert_close(tokens.patches[:, :, 0], want, "tokens", atol=1e-3)
    golden.assert_close(tokens.cls, arrays[f"mean_real_{tag}"], "mean", atol=1e-3)


def test_tokens_behind_a_shorter_clip_of_a_batch_are_masked(encoder):
    lengths = np.array([32000, 16001])
    wave = np.repeat(clip(2.0), 2, axis=0)
    tokens = encoder(wave, lengths)
    assert tokens.patches.shape == (2, 100, 1, 48)
    assert np.asarray(tokens.mask).sum(1).tolist() == [100, 51]
    alone = encoder(wave[1:, :16001])
    np.testing.assert_allclose(tokens.cls[1:], alone.cls, atol=1e-5)


def test_padding_is_heard_whether_its_tokens_are_kept_or_not():
    wave = clip(2.0)
    cut = np.asarray(untrained()(wave).patches)
    kept = untrained(mask_padding=False)(wave).patches
    unpadded = np.asarray(untrained(length_policy="crop")(wave).patches)
    assert (cut.shape[1], kept.shape[1], unpadded.shape[1]) == (100, 1500, 100)
    np.testing.assert_allclose(cut, kept[:, :100], atol=1e-6)
    assert np.abs(unpadded - cut).max() > 1e-2
    identities = [
        untrained(**options).identity()
        for options in ({}, {"mask_padding": False}, {"length_policy": "crop"})
    ]
    assert identities[0] != identities[1] != identities[2] != identities[0]


def test_longer_clips_are_cut_off_or_encoded_in_windows():
    encoder, windows = untrained(), untrained(length_policy="window")
    wave = clip(41.0)
    # The maximum of a window, which limits its range, is its own.
    wave[:, :480000] *= 1e-3
    first = encoder(wave[:, :480000]).patches
    np.testing.assert_allclose(encoder(wave).patches, first, atol=1e-5)
    got = windows(wave).patches
    assert got.shape[1:3] == windows.grid(41.0) == (2050, 1)
    np.testing.assert_allclose(got[:, :1500], first, atol=1e-5)
    second = encoder(wave[:, 480000:]).patches
    np.testing.assert_allclose(got[:, 1500:], second, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.02, 1.0, 5.01, 30.0, 31.0])
@pytest.mark.parametrize("policy", ["pad", "crop", "repeat", "window"])
def test_the_grid_is_known_before(seconds, policy):
    for mask_padding in (True, False):
        encoder = untrained(length_policy=policy, mask_padding=mask_padding)
        wave = np.zeros((1, encoder.input_samples(seconds)), np.float32)
        lengths = np.full(1, wave.shape[1], np.int32)
        patches = jax.eval_shape(
            lambda *args, apply=encoder.apply: apply(*args).patches,
            encoder.params,
            wave,
            lengths,
        )
        assert patches.shape[1:3] == encoder.grid(seconds)


@pytest.mark.skipif(
    not WEIGHTS.is_dir(),
    reason="the weights of Whisper base are not beside the checkout",
)
@pytest.mark.parametrize("i", [0, 1])
def test_real_weights_give_the_tokens_of_the_reference(i):
    expected = golden.read(WEIGHTS / "whisper-base-expected.npz")
    encoder = load_encoder(
        "whisper", WEIGHTS / "whisper-base-encoder.safetensors", mask_padding=False
    )
    file = WEIGHTS.parent / "data" / str(expected[f"clip_{i}"])
    wave, rate = soundfile.read(file, dtype="float32")
    assert rate == encoder.sample_rate
    spectrogram = np.asarray(encoder.frontend(wave[None])[0])
    want = expected[f"mel_{i}"].T
    golden.assert_close(spectrogram[: len(want)], want, "input", atol=3e-4)
    tokens = np.asarray(encoder(wave[None]).patches)[0, :, 0]
    got, want = tokens[expected["rows"]], expected[f"tokens_{i}"]
    golden.assert_close(got, want, "tokens", atol=2e-3, rtol=1e-3)
    assert np.abs(got - want).mean() < 1e-5
    golden.assert_close(
        tokens[:250].mean(0), expected[f"mean_250_{i}"], "mean", atol=1e-4
    )
    golden.assert_close(tokens.mean(0), expected[f"mean_1500_{i}"], "mean", atol=1e-4)
