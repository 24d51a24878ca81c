"""Tokens that lie elsewhere than stated are found, and those that do not are not."""

import numpy as np
import pytest

from unmute_jax import load_encoder
from unmute_jax.store.token_places import (
    BACKGROUND,
    FAIL,
    NOTE,
    PASS,
    Listener,
    check_geometry,
    check_places,
)

PLACED = "tests.encoders.custom_encoders:Placed"


def findings(seconds=2.0, **options):
    """The findings about an encoder by name."""
    encoder = load_encoder(PLACED, **options)
    samples = encoder.input_samples(seconds)
    noise = BACKGROUND * np.random.default_rng(0).standard_normal(samples)
    listener = Listener(encoder, encoder, noise.astype(np.float32), samples)
    steps, _ = encoder.grid(seconds)
    found = [
        *check_geometry(encoder, seconds, steps, samples),
        *check_places(listener),
    ]
    return {f.check: f for f in found}


def failed(found):
    return [f.check for f in found.values() if f.verdict == FAIL]


@pytest.mark.parametrize("bands", [1, 2, 4, 5, 10, 20])
@pytest.mark.parametrize("disorder", ["none", "one step late"])
def test_tokens_at_their_places_pass(bands, disorder):
    found = findings(bands=bands, disorder=disorder)
    assert {f.verdict for f in found.values()} == {PASS}
    places = {"place in frequency", "chirps"} if bands > 1 else set()
    assert found.keys() == {"time", "frequency", "place in time"} | places


@pytest.mark.parametrize("bands", [2, 4, 5, 10, 20])
@pytest.mark.parametrize(
    ("disorder", "check", "message"),
    [
        ("frequency flipped", "place in frequency", "the highest band comes first"),
        ("time flipped", "place in time", "the last step comes first"),
        ("both flipped", "place in time", "the last step comes first"),
        ("both flipped", "place in frequency", "the highest band comes first"),
        ("frequency first", "place in time", r"in the order [time, frequency]?"),
        ("read as frequency first", "place in time", "order [time, frequency]?"),
    ],
)
def test_disorder_fails_with_any_number_of_bands(bands, disorder, check, message):
    found = findings(bands=bands, disorder=disorder)
    assert check in failed(found)
    assert message in found[check].value


@pytest.mark.parametrize("bands", [4, 5, 10, 20])
def test_shuffled_bands_fail(bands):
    assert failed(findings(bands=bands, disorder="shuffled")) == ["place in frequency"]


def test_swapped_axes_of_equal_length_fail():
    found = findings(bands=20, seconds=1.0, disorder="swapped")
    assert "order [time, frequency]?" in found["place in time"].value
    assert found["place in time"].verdict == FAIL


def test_time_is_checked_without_bands_too():
    assert failed(findings(bands=1, disorder="time flipped")) == ["place in time"]


@pytest.mark.parametrize("stated", [0.0505, 0.0495, 0.052, 0.04])
def test_a_step_of_another_length_fails(stated):
    found = findings(seconds=5.0, stated=stated)
    assert failed(found)[:1] == ["time"]
    assert "seconds_per_step of 0.05 would fit" in found["time"].value


def test_frames_of_another_hop_fail_though_their_number_is_right(monkeypatch):
    # The frames of a hop of 45 ms, cut to as many as steps of 50 ms would be.
    from tests.encoders.custom_encoders import Placed

    original = Placed.__call__

    def cut(self, waveform, lengths):
        return original(self, waveform, lengths)[:, : waveform.shape[1] // 200]

    monkeypatch.setattr(Placed, "__call__", cut)
    found = findings(hop=180)
    assert failed(found) == ["place in time"]
    assert "steps seem to last 0.045 s" in found["place in time"].value


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_nothing_is_told_where_all_places_are_mixed(bands):
    found = findings(bands=bands, disorder="mixed", seconds=1.0)
    assert not failed(found)
    assert found["place in time"].verdict == NOTE
    assert "cannot tell, as tokens hardly differ" in found["place in time"].value


def test_three_steps_tell_nothing_of_their_order():
    found = findings(seconds=0.15, bands=4)
    assert found["place in time"].value == "cannot tell: 3 time steps only"
    assert found["place in frequency"].verdict == PASS
