import numpy as np
import pytest
import soundfile as sf

from tests.inference.recordings.fakes import RATE, fake_predictor, save
from unmute_jax.inference.recordings.predictor import Predictor
from unmute_jax.inference.recordings.stream import count_windows, score_recordings
from unmute_jax.inference.recordings.windows import RecordingFile, read_windows

WINDOWING = fake_predictor().windowing(0.5)


@pytest.fixture
def recordings(tmp_path):
    """Three that are one window long, one of nine, one in between that is broken."""
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    return [
        save(tmp_path, "a.wav", 1.0, seed=1),
        save(tmp_path, "sub/b.wav", 0.7, seed=2),
        RecordingFile(path=bad, name="bad.wav"),
        save(tmp_path, "long.wav", 4.9, seed=3),
        save(tmp_path, "c.wav", 1.0, seed=4),
    ]


class CountingPredictor(Predictor):
    """Records how many windows each batch has, and can stop after some batches."""

    def __init__(self, stop_after=None):
        self.__dict__.update(fake_predictor().__dict__)
        self.batches, self._stop_after = [], stop_after

    def score(self, windows):
        if len(self.batches) == self._stop_after:
            raise KeyboardInterrupt
        self.batches.append(len(windows))
        return super().score(windows)


def scores_of(all_results):
    return [
        [(w.start, w.end, w.scores.tolist()) for w in j.windows]
        for j in all_results
        if j.error is None
    ]


def test_windows_of_many_files_share_batches_and_scores_are_those_of_one(recordings):
    predictor, advanced = CountingPredictor(), []
    all_results = list(
        score_recordings(recordings, predictor, WINDOWING, advance=advanced.append)
    )
    assert [j.recording for j in all_results] == recordings
    assert predictor.batches == [4, 4, 4]
    assert sum(advanced) == 12
    assert "bad.wav: is damaged" in str(all_results[2].error)
    assert [j.end.seconds for j in all_results if j.end] == [1.0, 0.7, 4.9, 1.0]
    for one, found in zip(recordings, all_results, strict=True):
        if found.error is None:
            windows = list(read_windows(one, WINDOWING))[:-1]
            for window, scored in zip(windows, found.windows, strict=True):
                alone = fake_predictor().score([window])
                assert (scored.start, scored.end) == (window.start, window.end)
                np.testing.assert_allclose(scored.scores, alone.scores[0], atol=1e-6)
                np.testing.assert_array_equal(scored.bands, alone.bands[0])


@pytest.mark.parametrize("after", [0, 2])
def test_a_pass_that_was_stopped_continues_and_scores_nothing_twice(
    recordings, after, tmp_path
):
    folder = tmp_path / "windows"
    with pytest.raises(KeyboardInterrupt):
        list(
            score_recordings(
                recordings, CountingPredictor(stop_after=after), WINDOWING, folder
            )
        )
    if after == 2:  # As if it had been killed in the middle of a line.
        with open(folder / "long.wav.jsonl", "a") as file:
            file.write('{"start": 2.5, "en')
    total, done = count_windows(recordings, WINDOWING, folder)
    assert (total, done) == (12, 4 * after)
    predictor = CountingPredictor()
    all_results = list(score_recordings(recordings, predictor, WINDOWING, folder))
    assert sum(predictor.batches) == 12 - done
    assert scores_of(all_results) == scores_of(
        score_recordings(recordings, CountingPredictor(), WINDOWING)
    )
    again = CountingPredictor()
    assert scores_of(
        score_recordings(recordings, again, WINDOWING, folder)
    ) == scores_of(all_results)
    assert again.batches == []
    assert (folder / "sub" / "b.wav.jsonl").is_file()


def test_tokens_that_are_not_finite_end_their_recording_alone(tmp_path):
    good, odd = save(tmp_path, "a.wav", 1.0), save(tmp_path, "b.wav", 1.0)
    loud = np.full(2 * RATE, 3e38, np.float32)
    sf.write(odd.path, loud, 2 * RATE, subtype="FLOAT")
    first, second = score_recordings([good, odd], CountingPredictor(), WINDOWING)
    assert first.error is None
    assert "b.wav: its tokens are not finite from 0 s on" in str(second.error)
