"""Recordings in, detections out, as one function."""

import math

import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_trained, save
from tests.store.fakes import fake_encoder
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.predict import encoder_of, predict
from unmute_jax.results.trained import write_trained

TRAINED = fake_trained("linear")


def heard(recordings, trained=TRAINED, **options):
    return predict(recordings, trained, encoder=fake_encoder(), batch_size=4, **options)


def scores_of(detections):
    return [(name, score) for name, score, _ in detections.best]


@pytest.fixture
def folder(tmp_path):
    save(tmp_path, "b.wav", 3.0, seed=1)
    save(tmp_path, "deep/a.wav", 2.0, seed=2)
    return tmp_path


def test_files_and_folders_are_recordings(folder):
    found = heard(folder)
    assert [d.recording.name for d in found] == ["b.wav", "deep/a.wav"]
    assert [d.seconds for d in found] == [3.0, 2.0]
    (one,) = heard(folder / "b.wav")
    assert scores_of(one) == scores_of(found[0])
    assert [d.seconds for d in heard([folder / "deep", str(folder / "b.wav")])] == [
        2,
        3,
    ]


def test_thresholds_are_of_all_classes_or_of_each(folder):
    everywhere = heard(folder / "b.wav", thresholds=0.0)[0].events
    assert {event.label for event in everywhere} == set(TRAINED.classes)
    only = {name: 1.0 for name in TRAINED.classes} | {"birch": 0.0}
    (event,) = heard(folder / "b.wav", thresholds=only)[0].events
    assert (event.label, event.onset, event.offset) == ("birch", 0.0, 3.0)
    with pytest.raises(InputError, match="did you mean 'birch'"):
        heard(folder, thresholds={"birsch": 0.5})
    with pytest.raises(InputError, match="a threshold is a number from 0 to 1, not 3"):
        heard(folder, thresholds=3.0)
    # Classes that are not named have 0.5.
    partly = heard(folder / "b.wav", thresholds={"birch": 0.0})[0].events
    usual = heard(folder / "b.wav")[0].events
    others = [event for event in partly if event.label != "birch"]
    assert others == [event for event in usual if event.label != "birch"]


def test_events_can_be_single_windows_or_limited(folder):
    merged, single, divided = (
        heard(folder / "b.wav", thresholds=0.0, **options)[0].events
        for options in ({}, {"merge": False}, {"longest": 1.5})
    )
    assert len(merged) < len(divided) < len(single)
    assert max(e.offset - e.onset for e in divided) <= 1.5
    for wrong in (0.1, math.nan):
        with pytest.raises(InputError, match="an event is at least as long as a w"):
            heard(folder, longest=wrong)


def test_a_recording_that_cannot_be_read_is_named_or_left_out(folder):
    (folder / "c.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match=r"c\.wav"):
        heard(folder)
    assert [d.recording.name for d in heard(folder, on_bad="skip")] == [
        "b.wav", "deep/a.wav"
    ]  # fmt: skip


def test_a_probe_is_opened_by_its_path(folder):
    path = write_trained(folder / "linear.safetensors", TRAINED)
    (by_path,), (opened,) = heard(folder / "b.wav", path), heard(folder / "b.wav")
    assert scores_of(by_path) == scores_of(opened)


def test_another_encoder_is_refused(folder):
    with pytest.raises(InputError, match="trained on tokens of another encoder"):
        predict(folder, TRAINED, encoder=load_encoder("logmel"))


def test_the_encoder_is_that_of_the_settings():
    given = TRAINED.settings | {"encoder": "logmel", "weights": ""}
    opened = encoder_of(fake_trained("linear", settings=given))
    assert opened.identity() == load_encoder("logmel").identity()
    np.testing.assert_equal(opened.sample_rate, 16_000)
