"""Front ends of vision transformers against the references, and their constants."""

import re

import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_filters, check_front_end
from unmute_jax.audio.kaldi import ENERGY_FLOOR, KaldiFbank, kaldi_fbank
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.asit import AsitEncoder
from unmute_jax.encoders.audiomae import AudioMaeEncoder
from unmute_jax.encoders.eat import ORIGIN, EatEncoder
from unmute_jax.weights.loading import untrained

ENCODERS = {"audiomae": AudioMaeEncoder, "asit": AsitEncoder}
RECIPES = {
    "audioset": "audioset",
    "esc50": "esc50",
    "speechcommands": "speech_commands",
    None: "audioset",
}
FBANK_MAX, FBANK_MEAN = 1e-2, 1e-4


class OtherBands(EatEncoder):
    """EAT with half as many mel bands, and so half as many frequency patches."""

    filters = KaldiFbank(num_mels=64, window="hann")


@pytest.fixture(params=ENCODERS, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def arrays(name):
    return golden.read(golden.ENCODERS / f"frontend_{name}.npz")


def inputs(name, arrays):
    """(name of the waveform, encoder with the recipe, golden input) of every input."""
    found = [re.fullmatch(r"input_([^_]+)_(?:([^_]+)_)?(\d+)", k) for k in arrays]
    matches = [match for match in found if match]
    assert matches
    for match in matches:
        encoder = load_encoder(
            name,
            weights="untrained",
            width=16,
            depth=1,
            num_heads=1,
            recipe=RECIPES[match[2]],
            target_frames=int(match[3]),
        )
        yield match[1], encoder, arrays[match[0]]


def check(got, want, what, scale):
    limits = {"atol": FBANK_MAX * scale, "mean": FBANK_MEAN * scale}
    check_front_end(got, want, what, **limits)


def test_log_mels_equal_the_reference(name, arrays):
    waves = [key.removeprefix("wav_") for key in arrays if key.startswith("wav_")]
    assert waves
    for wave in waves:
        got = kaldi_fbank(arrays[f"wav_{wave}"][None], ENCODERS[name].filters)
        got = np.asarray(got)[0]
        check(got, arrays[f"fbank_{wave}"], f"fbank_{wave}", scale=1)
        assert np.asarray(got).min() == np.float32(np.log(ENERGY_FLOOR))


def test_network_inputs_equal_the_reference(name, arrays):
    for waveform, encoder, want in inputs(name, arrays):
        got = np.asarray(encoder.frontend(arrays[f"wav_{waveform}"][None]))[0]
        check(got, want, f"input of wav_{waveform}", scale=0.1)


def test_padding_and_constants_are_exact(name, arrays):
    for waveform, encoder, want in inputs(name, arrays):
        fbank = arrays[f"fbank_{waveform}"][: len(want)]
        fitted = np.pad(fbank, ((0, len(want) - len(fbank)), (0, 0)))
        got = (fitted - np.float32(encoder.input.mean)) / np.float32(
            2 * encoder.input.std
        )
        # The reference divides in float32 as well, but may round once more or less.
        np.testing.assert_allclose(got, want, rtol=0, atol=5e-7)


def test_filters_equal_the_reference(name, arrays):
    if "mel_banks" in arrays:
        check_filters(ENCODERS[name].filters, arrays["mel_banks"], None)


def test_other_mel_bands_than_the_positions_are_for_are_refused():
    sizes = {"width": 16, "depth": 1, "num_heads": 2}
    weights = untrained(ORIGIN, 0, **sizes)
    encoder = OtherBands.build("eat", lambda: weights, target_frames=64)
    with pytest.raises(ValueError, match=r"for 8 patches over 128 mel bands; .* 64"):
        encoder(np.zeros((1, 16000), np.float32))
