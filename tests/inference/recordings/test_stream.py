"""The pass over recordings: shared batches, one bad file, and going on after a stop."""

import json

import numpy as np
import pytest
import soundfile as sf

from tests.inference.recordings.fakes import RATE, fake_listener, save
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.listener import Listener
from unmute_jax.inference.recordings.partial_results import Journal, pin_settings
from unmute_jax.inference.recordings.stream import expected, hear_all
from unmute_jax.inference.recordings.windows import Recording, read_windows

CUT = fake_listener().cut(0.5)


@pytest.fixture
def recordings(tmp_path):
    """Three that are one window long, one of nine, one in between that is broken."""
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF")
    return [
        save(tmp_path, "a.wav", 1.0, seed=1),
        save(tmp_path, "sub/b.wav", 0.7, seed=2),
        Recording(path=bad, name="bad.wav"),
        save(tmp_path, "long.wav", 4.9, seed=3),
        save(tmp_path, "c.wav", 1.0, seed=4),
    ]


class Counting(Listener):
    """A listener that remembers how many windows each batch had."""

    def __init__(self, stop_after=None):
        self.__dict__.update(fake_listener().__dict__)
        self.batches, self._stop_after = [], stop_after

    def hear(self, windows):
        if len(self.batches) == self._stop_after:
            raise KeyboardInterrupt
        self.batches.append(len(windows))
        return super().hear(windows)


def told(journals):
    return [
        [(w.start, w.end, w.scores.tolist()) for w in j.windows]
        for j in journals
        if j.error is None
    ]


def test_windows_of_many_files_share_batches_and_scores_are_those_of_one(recordings):
    listener, advanced = Counting(), []
    journals = list(hear_all(recordings, listener, CUT, advance=advanced.append))
    assert [j.recording for j in journals] == recordings
    assert listener.batches == [4, 4, 4]
    assert sum(advanced) == 12
    assert "bad.wav: is damaged" in str(journals[2].error)
    assert [j.end.seconds for j in journals if j.end] == [1.0, 0.7, 4.9, 1.0]
    for one, found in zip(recordings, journals, strict=True):
        if found.error is None:
            windows = list(read_windows(one, CUT))[:-1]
            for window, heard in zip(windows, found.windows, strict=True):
                alone = fake_listener().hear([window])
                assert (heard.start, heard.end) == (window.start, window.end)
                np.testing.assert_allclose(heard.scores, alone.scores[0], atol=1e-6)
                np.testing.assert_array_equal(heard.bands, alone.bands[0])


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_pass_that_was_stopped_goes_on_and_hears_nothing_twice(
    recordings, after, tmp_path
):
    folder = tmp_path / "windows"
    with pytest.raises(KeyboardInterrupt):
        list(hear_all(recordings, Counting(stop_after=after), CUT, folder))
    if after == 2:  # As if it had been killed in the middle of a line.
        with open(folder / "long.wav.jsonl", "a") as file:
            file.write('{"start": 2.5, "en')
    total, done = expected(recordings, CUT, folder)
    assert (total, done) == (12, 4 * after)
    listener = Counting()
    journals = list(hear_all(recordings, listener, CUT, folder))
    assert sum(listener.batches) == 12 - done
    assert told(journals) == told(hear_all(recordings, Counting(), CUT))
    again = Counting()
    assert told(hear_all(recordings, again, CUT, folder)) == told(journals)
    assert again.batches == []
    assert (folder / "sub" / "b.wav.jsonl").is_file()


def test_a_recording_that_changed_is_heard_anew(tmp_path):
    one = save(tmp_path, "a.wav", 2.0)
    folder = tmp_path / "windows"
    before = told(hear_all([one], Counting(), CUT, folder))
    save(tmp_path, "a.wav", 2.5, seed=9)
    after = told(hear_all([one], Counting(), CUT, folder))
    assert (len(before[0]), len(after[0])) == (3, 4)
    assert after == told(hear_all([one], Counting(), CUT))


def test_a_journal_reads_what_it_wrote(tmp_path):
    one = save(tmp_path, "a.wav", 2.0)
    (written,) = hear_all([one], Counting(), CUT, tmp_path / "windows")
    path = tmp_path / "windows" / "a.wav.jsonl"
    read = Journal(one, path)
    assert read.end == written.end
    assert told([read]) == told([written])
    np.testing.assert_array_equal(read.windows[1].bands, written.windows[1].bands)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["recording"] == "a.wav"
    assert lines[-1] == {"seconds": 2.0, "above": None}


def test_samples_that_give_no_numbers_end_their_recording_alone(tmp_path):
    good, odd = save(tmp_path, "a.wav", 1.0), save(tmp_path, "b.wav", 1.0)
    loud = np.full(2 * RATE, 3e38, np.float32)
    sf.write(odd.path, loud, 2 * RATE, subtype="FLOAT")
    first, second = hear_all([good, odd], Counting(), CUT)
    assert first.error is None
    assert "b.wav: gives tokens that are not finite from 0 s on" in str(second.error)


def test_a_folder_of_other_predictions_is_left_alone(tmp_path):
    listener = fake_listener()
    pin_settings(tmp_path, listener.identity(CUT))
    pin_settings(tmp_path, listener.identity(CUT))
    with pytest.raises(InputError, match=r"hop_seconds: there 0\.5, here 1\.0"):
        pin_settings(tmp_path, listener.identity(listener.cut(0.0)))
