import pickle

import numpy as np
import pytest

from unmute_jax.datasets.clips import Clip, from_record, to_record


def test_clips_are_read_by_index(loaded):
    clips = loaded("fsdd").source_of("test")
    assert len(clips) == 20
    one = clips[7]
    assert one.id == "3_jackson_4"
    assert clips[np.int64(7)].id == one.id
    assert [clip.id for clip in clips][7] == one.id
    assert clips[-1].id == clips[19].id
    assert [clip.id for clip in clips[5:9]][2] == one.id
    for index in (20, -21):
        with pytest.raises(IndexError):
            clips[index]


def test_a_source_pickles_without_its_open_files(loaded):
    clips = loaded("fsdd").source_of("test")
    first = clips[0]
    again = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(again[0].waveform, first.waveform)


def test_samples_are_stored_with_16_bits_and_without_overflow():
    waveform = np.array([0.25, -0.5, 1.0, -1.5, 1e-6], np.float32)
    clip = Clip(id="a", waveform=waveform, labels=(0, 2), events=((2, 0.0, 1.5),))
    record = to_record(clip)
    assert record["audio"].tolist() == [8192, -16384, 32767, -32768, 0]
    again = from_record({**record, "id": b"a"})
    assert (again.id, again.labels, again.events) == ("a", (0, 2), clip.events)
    np.testing.assert_array_equal(again.waveform[:2], waveform[:2])
