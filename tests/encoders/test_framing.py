"""Clips of different lengths, for every length policy and kind of encoder."""

import functools
import json

import jax
import numpy as np
import pytest

from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.framing import POLICIES
from unmute_jax.errors import InputError

# One encoder of each kind of positions and front end.
ENCODERS = ["asit", "beats", "dasheng", "eat", "logmel"]
SIZES = {"width": 32, "depth": 1, "num_heads": 2}
RATE, TARGET = 16000, 48
# Less than a patch, less than the target, and more than two windows of it.
LENGTHS = np.array([1600, 4800, 17600], np.int32)


def tiny(name, **options):
    sizes = {} if name == "logmel" else SIZES
    return load_encoder(name, weights="untrained", **sizes, **options)


@functools.cache
def masking(name, policy):
    """The encoder of a policy, compiled once for all tests."""
    return tiny(name, length_policy=policy, target_frames=TARGET, mask_padding=True)


@pytest.fixture(params=ENCODERS, scope="module")
def name(request):
    return request.param


@pytest.fixture(params=POLICIES, scope="module")
def policy(request):
    return request.param


@pytest.fixture(scope="module")
def encoder(name, policy):
    return masking(name, policy)


@pytest.fixture(scope="module")
def clips():
    noise = np.random.default_rng(0).standard_normal((3, LENGTHS.max()), np.float32)
    return np.where(np.arange(LENGTHS.max()) < LENGTHS[:, None], noise / 10, 0)


@pytest.fixture(scope="module")
def tokens(encoder, clips):
    return jax.device_get(encoder(clips, LENGTHS))


def both(encoder, clips):
    """Tokens of all clips, and those of the second one alone."""
    together, alone = encoder(clips, LENGTHS), encoder(clips[1:2, : LENGTHS[1]])
    return jax.device_get((together, alone))


def seconds(samples):
    return float(samples) / RATE


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_shapes_are_the_stated_ones(encoder, tokens):
    longest = seconds(LENGTHS.max())
    t, f = encoder.grid(longest)
    assert tokens.patches.shape == (3, t, f, encoder.num_features)
    length = seconds(encoder.input_samples(longest))
    step = encoder.geometry.seconds_per_step
    # Centred frames reach beyond the samples.
    assert length - 2 * step < t * step <= length + 0.01
    assert encoder.input_samples(length) == encoder.input_samples(longest)
    for leaf in (tokens.patches, tokens.cls):
        assert np.isfinite(leaf).all()


def test_batched_equals_single(encoder, clips, tokens):
    # Each clip in a batch with clips without samples, which `apply` takes.
    for i in range(3):
        lengths = np.where(np.arange(3) == 0, LENGTHS[i], 0).astype(np.int32)
        rows = np.roll(clips, -i, axis=0)
        single = encoder._apply(encoder.params, rows, lengths, all_layers=False)
        single = jax.device_get(single)
        close(single.patches[0], tokens.patches[i])
        close(single.cls[0], tokens.cls[i])
        np.testing.assert_array_equal(single.mask[0], tokens.mask[i])
        assert np.isfinite(single.patches).all()
        assert not np.asarray(single.mask)[1:].any()


def test_masks_hold_the_real_time_steps(policy, encoder, tokens):
    mask, step = np.asarray(tokens.mask), encoder.geometry.seconds_per_step
    for real, length in zip(mask, LENGTHS, strict=True):
        steps = real.sum()
        assert real[:steps].all()
        filled = mask.shape[1] if policy == "repeat" else seconds(length) / step
        assert abs(steps - min(mask.shape[1], filled)) <= 1
    if encoder.name in ("beats", "dasheng", "logmel"):
        for clip, real, cls in zip(tokens.patches, mask, tokens.cls, strict=True):
            close(np.asarray(clip)[real].mean((0, 1)), cls)


def test_a_clip_alone_has_its_own_windows(name, clips):
    encoder = masking(name, "window")
    together, alone = both(encoder, clips)
    t = alone.patches.shape[1]
    assert (t, alone.patches.shape[2]) == encoder.grid(seconds(LENGTHS[1]))
    assert t < together.patches.shape[1]
    close(alone.patches[0], together.patches[1, :t])
    close(alone.cls[0], together.cls[1])
    np.testing.assert_array_equal(alone.mask[0], together.mask[1, :t])
    assert not np.asarray(together.mask)[1, t:].any()


@pytest.mark.parametrize("name", ["beats", "eat"])
def test_windows_are_encoded_on_their_own(name, clips):
    encoder = masking(name, "window")
    spectrogram = np.asarray(encoder.frontend(clips, LENGTHS))
    together = encoder.encode(spectrogram, all_layers=True)
    halves = np.split(spectrogram, [TARGET], axis=1)
    apart = [encoder.encode(half, all_layers=True) for half in halves]
    close(together.patches, np.concatenate([p.patches for p in apart], axis=1))
    close(together.layers, np.concatenate([p.layers for p in apart], axis=2))
    close(together.cls, np.mean([p.cls for p in apart], axis=0))
    close(together.layer_cls, np.mean([p.layer_cls for p in apart], axis=0))
    with pytest.raises(InputError, match="windows take 48 frames, two of them 96, and"):
        encoder.encode(spectrogram[:, :-1])


def test_a_clip_of_three_windows_is_three_clips(clips):
    encoder = masking("eat", "window")
    shift = TARGET * 160
    length = 2 * shift + 400 + (TARGET - 1) * 160
    noise = np.random.default_rng(1).standard_normal((1, length), np.float32) / 10
    whole = encoder(noise)
    pieces = [
        encoder(noise[:, s : s + length - 2 * shift]) for s in (0, shift, 2 * shift)
    ]
    close(whole.patches, np.concatenate([p.patches for p in pieces], axis=1))
    close(whole.cls, np.mean([p.cls for p in pieces], axis=0))
    assert np.asarray(whole.mask).all()


@pytest.mark.parametrize("name", ["beats", "dasheng"])
def test_windows_without_a_clip_stay_finite_where_padding_is_not_attended_to(
    name, clips
):
    encoder = tiny(
        name, length_policy="window", target_frames=TARGET, attention_mask=True
    )
    together, alone = both(encoder, clips)
    t = alone.patches.shape[1]
    assert np.isfinite(together.patches).all()
    assert not np.asarray(together.mask)[1, t:].any()
    close(alone.patches[0], together.patches[1, :t])
    close(alone.cls[0], together.cls[1])


def test_class_tokens_are_weighted_by_the_real_steps_of_their_window(clips):
    encoder = masking("eat", "window")
    clip = clips[2:, :13000]  # 79 frames: three steps of one window, two of another
    starts = (0, TARGET * 160)
    first, second = (encoder(clip[:, s : s + 7920]).cls for s in starts)
    close(encoder(clip).cls, (3 * first + 2 * second) / 5)


def test_without_a_mask_only_windows_behind_the_clip_are_masked(clips):
    encoder = tiny("logmel", length_policy="window", target_frames=TARGET)
    mask = np.asarray(encoder(clips, LENGTHS).mask)
    assert mask.sum(1).tolist() == [3, 3, 6]
    assert mask[:, :3].all()


@pytest.mark.parametrize("bank", ["eat", "dasheng"])
def test_policies_pad_repeat_or_crop_waveforms(bank, clips):
    def fit(policy, target=TARGET):
        framing = tiny(bank, length_policy=policy, target_frames=target).framing
        got, extent = framing.fit(clips + 1, LENGTHS)
        samples = framing.input_samples(clips.shape[1])
        assert extent.samples == got.shape[1] == samples
        return np.asarray(got), extent.lengths.tolist()

    n = 7920 if bank == "eat" else 7520
    real = np.where(np.arange(clips.shape[1]) < LENGTHS[:, None], clips + 1, 0)
    for policy in ("pad", "crop"):
        got, lengths = fit(policy)
        np.testing.assert_array_equal(got, real[:, :n])
        assert lengths == [1600, 4800, n]
    got, lengths = fit("repeat")
    rows = [np.resize(c[:k] + 1, n) for c, k in zip(clips, LENGTHS, strict=True)]
    np.testing.assert_array_equal(got, rows)
    assert lengths == [n, n, n]
    got, lengths = fit("window")
    assert got.shape[1] > n
    shared = min(got.shape[1], clips.shape[1])
    np.testing.assert_array_equal(got[:, :shared], real[:, :shared])
    # A target that no clip reaches.
    padded, _ = fit("pad", 200)
    assert padded.shape[1] > clips.shape[1]
    np.testing.assert_array_equal(padded[:, : clips.shape[1]], real)
    np.testing.assert_array_equal(fit("crop", 200)[0], real)


def test_a_clip_shorter_than_a_patch_is_padded_to_one(clips):
    encoder = tiny("beats")
    alone = encoder(clips[:1, :1600])
    assert alone.patches.shape[:3] == (1, *encoder.grid(0.1)) == (1, 1, 8)
    silent = np.pad(clips[:1, :1600], ((0, 0), (0, 1200)))
    close(alone.patches, encoder(silent).patches)
    with pytest.raises(InputError, match="needs clips of at least 400 samples"):
        encoder(clips[:1, :160])


def test_policies_are_part_of_the_identity(name):
    encoders = [tiny(name, length_policy=policy) for policy in POLICIES]
    encoders.append(tiny(name, target_frames=TARGET))
    identities = {json.dumps(encoder.identity()) for encoder in encoders}
    assert len(identities) == len(encoders)
    with pytest.raises(InputError, match="did you mean 'window'"):
        tiny(name, length_policy="windows")
    with pytest.raises(InputError, match="target_frames must be at least"):
        tiny(name, target_frames=3)


def test_the_default_policy_does_not_change_older_keys():
    assert "lengths" not in tiny("beats").identity()
    identity = tiny("eat", recipe="esc50").identity()
    assert "lengths" not in identity
    assert identity["input"] == {"target_frames": 512, "mean": -6.627, "std": 5.359}


def test_more_frames_than_there_are_positions_for_are_refused():
    with pytest.raises(InputError, match="takes at most 1039 frames; target_frames is"):
        tiny("audiomae", target_frames=1040)


# Time steps where clips of 0.3, 5, 10 and 30 s are the longest of their data set.
STEPS = {
    ("eat", "pad"): (64, 64, 64, 64),
    ("eat", "repeat"): (64, 64, 64, 64),
    ("eat", "crop"): (1, 31, 62, 64),
    ("eat", "window"): (64, 64, 64, 192),
    ("beats", "pad"): (1, 31, 62, 187),
    ("beats", "window"): (62, 62, 62, 248),
    ("dasheng", "pad"): (7, 125, 250, 750),
    ("dasheng", "window"): (250, 250, 250, 750),
    ("logmel", "pad"): (1, 31, 62, 187),
}


@pytest.mark.parametrize(("name", "policy"), STEPS)
def test_grids_are_those_of_the_documentation(name, policy):
    encoder = tiny(name, length_policy=policy)
    got = tuple(encoder.grid(s)[0] for s in (0.3, 5.0, 10.0, 30.0))
    assert got == STEPS[name, policy]


def test_padding_is_zeros_or_silence_as_in_the_reference():
    clip = np.zeros((1, RATE), np.float32)
    for options, want in ({}, 0.4670), ({"recipe": "pretraining"}, -1.2776):
        last = tiny("asit", **options).frontend(clip)[0, -1]
        np.testing.assert_allclose(last, want, atol=1e-4)
