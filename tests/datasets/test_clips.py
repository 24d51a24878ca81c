import pickle

import numpy as np
import pytest

from unmute_jax.datasets.clips import (
    Clip,
    as_16_bits,
    from_record,
    round_to_16_bits,
    to_record,
)


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


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        ([0.25, -0.5, 32767 / 32768, -1.0], "integers"),
        ([], "integers"),
        ([0.25, -0.5, 1.0], "floats"),
        ([0.25, -1.5, 30000.0, 3e38], "floats"),
        ([1e-6, -3e-4, 0.5 / 32768], "floats"),
        ([1.0 - 2**-23], "floats"),
    ],
)
def test_samples_are_stored_exactly_and_with_16_bits_where_these_suffice(samples, kind):
    waveform = np.array(samples, np.float32)
    clip = Clip(
        id="a",
        waveform=waveform,
        sample_rate=22_050,
        labels=(0, 2),
        events=((2, 0.0, 1.5),),
    )
    record = to_record(clip)
    assert (record["integers"].dtype, record["floats"].dtype) == (np.int16, np.float32)
    assert len(record[kind]) == len(record["integers"]) + len(record["floats"])
    again = from_record({**record, "id": b"a"})
    assert (again.id, again.labels, again.events) == ("a", (0, 2), clip.events)
    assert again.sample_rate == 22_050
    np.testing.assert_array_equal(again.waveform, waveform)
    assert again.waveform.dtype == np.float32


def test_rounding_to_16_bits_stays_in_range():
    waveform = np.array([0.25, 1e-5, 1.0, -1.5, 1e-6, -0.9999999], np.float32)
    rounded = round_to_16_bits(waveform)
    assert as_16_bits(waveform) is None
    assert as_16_bits(rounded).tolist() == [8192, 0, 32767, -32768, 0, -32768]
