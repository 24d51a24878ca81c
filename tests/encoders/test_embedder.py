"""Embeddings of clips and time steps, as other benchmarks want them."""

import numpy as np
import pytest

from tests.encoders.custom_encoders import RATE
from tests.encoders.test_conformance import TINY
from unmute_jax import list_encoders, load_encoder
from unmute_jax.encoders.embedder import Embedder
from unmute_jax.errors import InputError

CUSTOM = "tests.encoders.custom_encoders"


def embedder(name, source=None, bands="mean", **options):
    return Embedder.load(name, source, bands, options)


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32) / 10


def test_the_bands_of_a_step_are_averaged_or_concatenated():
    audio = noise(3, RATE)
    patches = load_encoder(f"{CUSTOM}:Spectral")(audio).patches
    mean, joined = (
        embedder(f"{CUSTOM}:Spectral", bands=b) for b in ("mean", "concatenate")
    )
    np.testing.assert_allclose(mean(audio).steps, patches.mean(2), atol=1e-6)
    np.testing.assert_array_equal(
        joined(audio).steps, np.concatenate([patches[:, :, 0], patches[:, :, 1]], -1)
    )
    for one, features in ((mean, 8), (joined, 16)):
        assert one.step_features == features
        assert one.clip_features == 8
        np.testing.assert_allclose(one(audio).clips, patches.mean((1, 2)), atol=1e-6)
        np.testing.assert_allclose(one.centres_ms(3), [50, 150, 250])


@pytest.mark.parametrize("name", [n for n in list_encoders() if not n.endswith("+")])
def test_every_encoder_gives_the_steps_of_its_clips_and_no_padding(name):
    untrained = None if name == "logmel" else "untrained"
    tiny = TINY.get(name, {})
    one = embedder(name, untrained, **tiny)
    samples = round(1.3 * one.sample_rate)
    audio = noise(2, samples)
    steps, clips = one(audio)
    tokens = load_encoder(name, weights=untrained, **tiny)(audio)
    t = steps.shape[1]
    # A frame of 25 ms may begin, but not end, before the end of the clip.
    masked = load_encoder(name, weights=untrained, mask_padding=True, **tiny)(audio)
    assert t - masked.mask[0].sum() in (0, 1)
    assert one.ms_per_step * (t - 1) < 1300 <= one.ms_per_step * (t + 1)
    np.testing.assert_allclose(steps, tokens.patches[:, :t].mean(2), atol=1e-5)
    np.testing.assert_allclose(clips, tokens.cls, atol=1e-5)
    assert steps.shape[2] == one.step_features == clips.shape[1] == one.clip_features


def test_longer_clips_than_the_input_need_windows():
    options = {**TINY["eat"], "target_frames": 48}
    audio = noise(1, 16000)
    with pytest.raises(InputError, match=r"first 0.495 s of a clip, .* 1 s: .*window"):
        embedder("eat", "untrained", **options)(audio)
    whole = embedder("eat", "untrained", **options, length_policy="window")(audio)
    assert whole.steps.shape[1] == 6


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="did you mean 'mean'"):
        embedder("logmel", bands="means")
    with pytest.raises(InputError, match=r"\[clips, samples\], not \[16000\]"):
        embedder("logmel")(noise(16000))
