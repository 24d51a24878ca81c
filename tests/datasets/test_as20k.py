import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datasets.miniatures import MINIATURES, by_id, class_names, refusal
from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets import as20k, load_dataset


def test_rows_of_hugging_face_are_clips(loaded, place_of):
    dataset = loaded("as20k")
    found = by_id(dataset)
    assert len(found) == 13
    # Every upload keeps its own rate.
    assert dataset.sample_rates == {16_000: 2, 22_050: 2, 44_100: 3, 48_000: 6}
    assert class_names(dataset, found["b-_00PJHxph"]) == {
        "Speech",
        "Male speech, man speaking",
    }
    assert len(found["b-_00PJHxph"].waveform) == 480_000
    assert len(found["e-_01PJHxph"].waveform) == 8_820
    # A clip has the audio of its row, wherever that is in its group.
    path = place_of("as20k") / "data" / "bal_train" / "01.parquet"
    for row in pq.read_table(path).to_pylist():
        audio, rate = decode_audio(row["audio"]["bytes"], "row")
        clip = found[row["video_id"]]
        assert clip.sample_rate == rate
        np.testing.assert_array_equal(clip.waveform, audio)


def test_broken_rows_of_the_known_copy_are_left_out(loaded, place_of, monkeypatch):
    monkeypatch.setitem(as20k.BROKEN_ROWS, "train", (10, (1, 6)))
    fewer = load_dataset("as20k", data_dir=place_of("as20k"))
    broken = {"b-_01PJHxph", "b-_11PJHxph"}
    assert by_id(fewer).keys() == by_id(loaded("as20k")).keys() - broken
    note = "dropped: 2 rows of that copy are broken (the list of Bird-MAE)"
    assert note in fewer.notes


def test_a_row_without_labels_is_named(tmp_path):
    place = MINIATURES["as20k"].make(tmp_path)
    path = place / "data" / "eval" / "00.parquet"
    table = pq.read_table(path)
    labels = pa.array([None, ["/m/0bt9lr"]], table.schema.field("labels").type)
    pq.write_table(table.set_column(2, "labels", labels), path)
    told = refusal("as20k", data_dir=place)
    assert f"{path}, row 0: has no labels" in told


def test_segments_are_found_by_their_video(loaded):
    dataset = loaded("as20k/segments")
    found = by_id(dataset)
    assert class_names(dataset, found["--PJHxphWEs"]) == {
        "Speech",
        "Male speech, man speaking",
    }
    assert class_names(dataset, found["--ZhevVpy1s"]) == {"Dog"}
    assert "Y12345_-abc" in found
    assert "--aE2O5G5WE" not in found
    assert "dropped: 1 listed segments of train are not there" in dataset.notes
