import json

import numpy as np
import pytest

from tests.inference.recordings.fakes import fake_predictor, save
from tests.inference.recordings.test_stream import WINDOWING, scores_of
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.partial_results import (
    PartialResults,
    WindowScores,
    pin_settings,
)
from unmute_jax.inference.recordings.stream import score_recordings
from unmute_jax.inference.recordings.windows import RecordingFile


def test_a_recording_that_changed_is_scored_again(tmp_path):
    one = save(tmp_path, "a.wav", 2.0)
    folder = tmp_path / "windows"
    before = scores_of(score_recordings([one], fake_predictor(), WINDOWING, folder))
    save(tmp_path, "a.wav", 2.5, seed=9)
    after = scores_of(score_recordings([one], fake_predictor(), WINDOWING, folder))
    assert (len(before[0]), len(after[0])) == (3, 4)
    assert after == scores_of(score_recordings([one], fake_predictor(), WINDOWING))


def test_results_are_read_as_they_were_written(tmp_path):
    one = save(tmp_path, "a.wav", 2.0)
    (written,) = score_recordings(
        [one], fake_predictor(), WINDOWING, tmp_path / "windows"
    )
    path = tmp_path / "windows" / "a.wav.jsonl"
    read = PartialResults(one, path)
    assert read.end == written.end
    assert scores_of([read]) == scores_of([written])
    np.testing.assert_array_equal(read.windows[1].bands, written.windows[1].bands)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["recording"] == "a.wav"
    assert lines[-1] == {"seconds": 2.0, "above": None, "cancels": False}


def test_a_folder_of_other_predictions_is_left_alone(tmp_path):
    predictor = fake_predictor()
    pin_settings(tmp_path, predictor.identity(WINDOWING))
    pin_settings(tmp_path, predictor.identity(WINDOWING))
    with pytest.raises(InputError, match=r"hop_seconds: there 0\.5, here 1\.0"):
        pin_settings(tmp_path, predictor.identity(predictor.windowing(0.0)))


def test_scores_of_time_steps_are_kept(tmp_path):
    recording = RecordingFile(path=tmp_path / "a.wav", name="a.wav")
    path = tmp_path / "a.jsonl"
    first = PartialResults(recording, path)
    first.add(
        WindowScores(
            start=0.0,
            end=1.0,
            scores=np.float32([0.5]),
            bands=None,
            steps=np.float32([[0.25], [0.5]]),
        )
    )
    (again,) = PartialResults(recording, path).windows
    np.testing.assert_array_equal(again.steps, np.float32([[0.25], [0.5]]))


@pytest.mark.parametrize(
    ("line", "damaged", "reason"),
    [
        (0, "garbage", "Expecting value"),
        (1, "garbage", "Expecting value"),
        (1, "[]", "it is a list, not an object"),
        (1, "{}", "it has no 'start'"),
        (1, '{"start": 0, "end": 1, "scores": ["0.5"]}', "in the place of numbers"),
        (1, '{"start": 0, "end": 1, "scores": 0.5}', "in the place of numbers"),
        (1, '{"start": 0, "end": "x", "scores": [0.5]}', "must be a number"),
        (2, '{"start": 0, "end": 1, "scores": [0.5]}', "another number of scores"),
        (2, '{"start": 0, "end": 1, "scores": [0.1, 7]}', "between 0 and 1"),
        (1, '{"start": 0, "end": 1, "scores": [0], "bands": [[0]]}', "two bands"),
        (
            1,
            '{"start": 0, "end": 1, "scores": [0], "steps": [[0, 0]]}',
            "its time steps",
        ),
        (1, '{"start": 0, "end": 1, "scores": [0], "steps": [[7]]}', "between 0 and 1"),
        (2, '{"seconds": 1.0, "above": null}', "it follows the end"),
        (-1, '{"seconds": "long", "above": null}', "must be a number"),
    ],
)
def test_scores_that_are_damaged_are_named_and_computed_again(
    line, damaged, reason, tmp_path, caplog
):
    one = save(tmp_path, "a.wav", 2.0)
    folder = tmp_path / "windows"
    before = scores_of(score_recordings([one], fake_predictor(), WINDOWING, folder))
    path = folder / "a.wav.jsonl"
    undisturbed = path.read_text()
    lines = undisturbed.splitlines()
    lines[line] = damaged
    path.write_text("\n".join(lines) + "\n")
    again = scores_of(score_recordings([one], fake_predictor(), WINDOWING, folder))
    assert again == before
    assert path.read_text() == undisturbed
    (message,) = caplog.messages
    assert message.startswith(f"{path}, line ")
    assert reason in message
    assert message.endswith("the recording is scored again")


@pytest.mark.parametrize("content", ["{", "[]", "null"])
def test_damaged_settings_of_predictions_are_named(content, tmp_path):
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(InputError, match=r"settings\.json: not .*another --output"):
        pin_settings(tmp_path, fake_predictor().identity(WINDOWING))
