"""The rule that says which part of a clip is heard, and all that follows from it."""

import numpy as np
import pytest

from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.clip_input import ClipInput, key_fields

INPUT, RATE = ClipInput(10), 100
# Shorter than the input, as long, and longer.
LENGTHS = [1, 7, 10, 16]


def clip(length):
    return np.arange(1, length + 1, dtype=np.float32)


@pytest.mark.parametrize("length", LENGTHS)
def test_an_input_is_the_heard_part_and_then_zeros(length):
    heard = INPUT.heard(length)
    got, count = INPUT.of_clip(clip(length))
    assert got.shape == (10,)
    assert count == len(heard) == min(length, 10)
    np.testing.assert_array_equal(got[:count], clip(length)[list(heard)])
    assert not got[count:].any()


def test_a_batch_gives_the_inputs_of_its_clips():
    rows = np.full((len(LENGTHS), max(LENGTHS)), 9.0, np.float32)
    for row, length in zip(rows, LENGTHS, strict=True):
        row[:length] = clip(length)
    got, counts = INPUT.of_batch(rows, np.array(LENGTHS, np.int32))
    alone = [INPUT.of_clip(clip(length)) for length in LENGTHS]
    np.testing.assert_array_equal(got, [x for x, _ in alone])
    assert counts.tolist() == [count for _, count in alone]


@pytest.mark.parametrize("length", LENGTHS)
def test_events_stay_with_their_sound(length):
    events = ((0, 0.0, 0.03), (1, 0.05, 0.12))
    got, _ = INPUT.of_clip(clip(length))
    for (c, onset, _), (same, *_) in zip(
        INPUT.events_of(events, length, RATE), events, strict=True
    ):
        assert c == same
        source = round(events[c][1] * RATE)
        if source in INPUT.heard(length):
            assert got[round(onset * RATE)] == clip(length)[source]


def test_the_key_names_every_length_of_an_input():
    assert key_fields([ClipInput(8)]) == {"input_samples": 8}
    assert key_fields([ClipInput(4), ClipInput(8)]) == {"input_samples": [4, 8]}


@pytest.mark.parametrize("policy", ["pad", "repeat", "crop"])
def test_an_encoder_hears_the_same_part_when_it_cuts_the_clip_itself(policy):
    encoder = load_encoder("logmel", target_frames=48, length_policy=policy)
    long = np.random.default_rng(0).standard_normal(17600, np.float32)
    cut, count = encoder.clip_input(1.1).of_clip(long)
    assert count == 7920
    whole, heard = encoder(long[None]), encoder(cut[None], [count])
    np.testing.assert_array_equal(whole.patches, heard.patches)
