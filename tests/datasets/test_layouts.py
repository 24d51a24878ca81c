"""What single builders make of the irregularities of their layouts."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from tests.datasets.layouts import text, write
from tests.datasets.miniatures import MINIATURES, clips, load, refusal
from unmute_jax.audio.decode import decode_audio
from unmute_jax.datasets import as20k, load_dataset


def by_id(dataset):
    return {clip.id: clip for found in clips(dataset).values() for clip in found}


def names(dataset, clip):
    return {dataset.classes[c] for c in clip.labels}


# Spoken words.


def test_fsdd_splits_by_index(tmp_path):
    dataset = load("fsdd", tmp_path)
    for split, indices in (("test", "04"), ("validation", "59"), ("train", "10 49")):
        for clip in dataset.source_of(split):
            digit, _, index = clip.id.split("_")
            assert clip.labels == (int(digit),)
            assert index in indices
    assert "dropped: 1 files are not named DIGIT_SPEAKER_INDEX" in dataset.notes


def test_fsdd_as_flac(tmp_path):
    name = "7_george_3.flac"
    for digit in range(10):
        for index in (3, 7, 12):
            write(tmp_path / "audio" / f"{digit}_george_{index}.flac", index, 8000)
    dataset = load_dataset("fsdd", data_dir=tmp_path)
    clip = dataset.source_of("test")[7]
    audio, _ = sf.read(tmp_path / "audio" / name, dtype="float32")
    np.testing.assert_array_equal(clip.waveform, audio)


def test_sc2_follows_the_official_lists(tmp_path):
    dataset = load("sc2", tmp_path)
    speakers = {"train": "00a1", "validation": "11b2", "test": "22c3"}
    for split, found in clips(dataset).items():
        assert {clip.id.split("/")[1] for clip in found} == {
            f"{speakers[split]}_nohash_0"
        }
        assert [clip.id.split("/")[0] for clip in found] == list(dataset.classes)
        assert [clip.labels for clip in found] == [(i,) for i in range(35)]
    assert dataset.clip_seconds == pytest.approx(0.51)
    assert "train: 35 of the official 84,843 clips" in dataset.notes


def test_sc2_without_some_words_is_another_version(tmp_path):
    place = MINIATURES["sc2"].make(tmp_path)
    for path in (place / "visual").iterdir():
        path.unlink()
    assert "there are no clips of visual" in refusal("sc2", data_dir=place)
    write(place / "hello" / "1_nohash_0.wav", 0)
    assert "'hello' is not a word" in refusal("sc2", data_dir=place)


def test_twelve_classes(tmp_path):
    dataset = load("sc2/twelve", tmp_path)
    found = clips(dataset)
    names = {
        split: [dataset.classes[clip.labels[0]] for clip in found[split]]
        for split in found
    }
    for split, silence in (("train", 3), ("validation", 2), ("test", 1)):
        assert names[split].count("_silence_") == silence
        assert names[split].count("_unknown_") == (1 if split == "test" else 25)
        assert names[split].count("yes") == 1
    quiet = [clip for clip in found["validation"] if "running_tap" in clip.id]
    assert [clip.id.rpartition("-")[2] for clip in quiet] == ["0.0", "0.5"]
    assert [len(clip.waveform) for clip in quiet] == [16_000, 16_000]
    np.testing.assert_array_equal(quiet[0].waveform[8000:], quiet[1].waveform[:8000])


def test_twelve_classes_need_both_archives(tmp_path):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    (place / "speech_commands_test_set_v0.02.tar.gz").unlink()
    message = refusal("sc2/twelve", data_dir=place)
    assert "speech_commands_test_set_v0.02.tar.gz are not there" in message
    assert load_dataset("sc2", data_dir=place).splits["train"] == 35


def test_a_tar_that_is_cut_short(tmp_path, own_cache):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    archive = place / "speech_commands_v0.02.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert "not a whole tar archive" in refusal("sc2", data_dir=archive)
    assert list((own_cache / "datasets" / "unpacked").iterdir()) == []


# Multi-label sets without events.


def test_fsd50k(tmp_path):
    dataset = load("fsd50k", tmp_path)
    found = by_id(dataset)
    assert dataset.classes[0] == "Crowd_(people)"
    assert found["64760"].labels == found["37199"].labels == (0, 2)
    assert found["34"].labels == (1,)
    assert "83299" not in found
    notes = " ".join(dataset.notes)
    assert "dropped: 1 clips of dev have a wrong length (the list of HEAR)" in notes
    assert "dropped: 1 rows name a clip again" in notes
    assert "3 of the official 200 classes" in notes
    # What is longer than ten seconds keeps the first ten; short clips stay short.
    audio, _ = sf.read(tmp_path / "FSD50K.dev_audio" / "16399.wav", dtype="float32")
    np.testing.assert_array_equal(found["16399"].waveform, audio[:441_000])
    assert len(found["37199"].waveform) == 8820
    assert "clips are cut to their first 10 s" in notes


def test_fsd50k_as_on_hugging_face(tmp_path):
    official = load("fsd50k", tmp_path / "a")
    root = tmp_path / "a"
    other = tmp_path / "b"
    other.mkdir()
    (root / "FSD50K.ground_truth").rename(other / "labels")
    (root / "FSD50K.dev_audio").rename(other / "clips_dev")
    for name in ("37199", "175151"):
        seed = list(name.encode())
        write(other / "clips" / "eval" / f"{name}.wav", seed, 44_100, 0.2)
    (other / "clips_dev").rename(other / "clips" / "dev")
    copy = load_dataset("fsd50k", data_dir=other)
    assert copy.fingerprints == official.fingerprints


def test_fsd50k_in_pieces_tells_how_to_join_them(tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    (place / "whole.eval_audio.zip").rename(place / "FSD50K.eval_audio.zip")
    (place / "FSD50K.eval_audio.z01").write_bytes(b"PK")
    message = refusal("fsd50k", data_dir=place)
    assert "no FSD50K.eval_audio/*.wav" in message
    assert "zip -s 0 FSD50K.eval_audio.zip --out whole.eval_audio.zip" in message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"Hi-hat,Crowd_(people)"', '"Hi-het"', "line 2: unknown class"),
        (",val", ",validation", "split is 'validation', not train or val"),
        ("fname,labels,", "name,labels,", "has no column fname"),
        (",train", "", "more or fewer fields"),
    ],
)
def test_fsd50k_with_another_table(old, new, expected, tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    table = place / "FSD50K.ground_truth" / "dev.csv"
    table.write_bytes(table.read_bytes().replace(old.encode(), new.encode(), 1))
    message = refusal("fsd50k", data_dir=place)
    if "unknown" in expected:
        assert "did you mean 'Hi-hat'?" in message
        assert "dev.csv, line 2" in message
    else:
        assert expected in message


def test_a_file_that_is_missing(tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    (place / "FSD50K.dev_audio" / "16399.wav").unlink()
    message = refusal("fsd50k", data_dir=place)
    assert "1 of its 5 files are missing" in message
    assert "16399.wav" in message
    dataset = load_dataset("fsd50k", data_dir=place, on_bad="skip")
    assert dataset.splits == {"train": 1, "validation": 1, "test": 2}
    assert "1 unreadable clips skipped" in dataset.notes


def test_spass_splits_every_scene_in_the_order_of_names(tmp_path):
    dataset = load("spass", tmp_path)
    assert len(dataset.classes) == 33
    found = clips(dataset)
    parks = {s: [c.id for c in found[s] if c.id.startswith("park")] for s in found}
    assert parks["train"] == [f"park{i:05d}" for i in range(1, 15)]
    assert parks["validation"] == ["park00015"]
    assert parks["test"] == [f"park{i:05d}" for i in range(16, 21)]
    assert names(dataset, by_id(dataset)["park00003"]) == {"bird", "talk"}
    assert names(dataset, by_id(dataset)["park00002"]) == {"talk"}
    assert dataset.clip_seconds == 10.0
    assert any("28" in note for note in dataset.notes)


def test_a_scene_has_its_own_classes(tmp_path):
    place = MINIATURES["spass"].make(tmp_path)
    water = load_dataset("spass/waterfront", data_dir=place)
    assert len(water.classes) == 29
    clip = by_id(water)["waterfront00001"]
    assert names(water, clip) == {"talk", "Vwater"}
    market = place / "SPASS_META_DATA" / "1_MatrixLabelsMarket.csv"
    market.write_bytes(market.read_bytes().replace(b"bird", b"Vwater"))
    assert "'Vwater'" in refusal("spass/market", data_dir=place)
    for path in (place / "Park audio files").iterdir():
        path.unlink()
    message = refusal("spass", data_dir=place)
    assert "no Park?audio?files/*.wav" in message


def test_audioset_on_hugging_face(tmp_path, monkeypatch):
    place = MINIATURES["as20k"].make(tmp_path)
    dataset = load_dataset("as20k", data_dir=place)
    found = by_id(dataset)
    assert len(found) == 13
    assert dataset.sample_rate == 32_000
    assert names(dataset, found["b-_00PJHxph"]) == {
        "Speech",
        "Male speech, man speaking",
    }
    assert len(found["b-_00PJHxph"].waveform) == 320_000
    assert len(found["e-_01PJHxph"].waveform) == 6_400
    # The same audio as in the row, wherever in its group.
    rows = pq.read_table(place / "data" / "bal_train" / "01.parquet").to_pylist()
    for row in rows:
        audio, _ = decode_audio(row["audio"]["bytes"], "row", sample_rate=32_000)
        clip = found[row["video_id"]].waveform
        np.testing.assert_allclose(clip, audio, atol=1 / 32_768)
    # Rows of one certain copy are broken.
    monkeypatch.setitem(as20k.BROKEN_ROWS, "train", (10, (1, 6)))
    fewer = load_dataset("as20k", data_dir=place)
    gone = {"b-_01PJHxph", "b-_11PJHxph"}
    assert by_id(fewer).keys() == found.keys() - gone
    assert "dropped: 2 rows of that copy are broken (the list of Bird-MAE)" in (
        fewer.notes
    )


def test_audioset_in_a_table_that_is_none(tmp_path):
    place = MINIATURES["as20k"].make(tmp_path)
    path = place / "data" / "eval" / "00.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path}: is no parquet file" in refusal("as20k", data_dir=place)
    pq.write_table(pq.read_table(path.with_name("01.parquet")).drop(["labels"]), path)
    assert "has no column labels, only video_id" in refusal("as20k", data_dir=place)


def test_audioset_segments(tmp_path):
    dataset = load("as20k/segments", tmp_path)
    found = by_id(dataset)
    assert names(dataset, found["--PJHxphWEs"]) == {
        "Speech",
        "Male speech, man speaking",
    }
    assert names(dataset, found["--ZhevVpy1s"]) == {"Dog"}
    assert "Y12345_-abc" in found
    assert "--aE2O5G5WE" not in found
    assert "dropped: 1 listed segments of train are not there" in dataset.notes


# Sets with events.


def test_urban_keeps_its_events(tmp_path):
    dataset = load("urban", tmp_path)
    found = by_id(dataset)
    siren, dog = dataset.classes.index("siren"), dataset.classes.index("dog_bark")
    clip = found["soundscape_test_uniform0"]
    assert clip.labels == (dog, siren)
    assert clip.events == ((siren, 0.0, 0.1), (siren, 0.05, 0.2), (dog, 0.1, 0.3))
    assert found["soundscape_validate_bimodal1"].events == ((0, 0.0, 0.25),)
    assert found["soundscape_test_unimodal2"].labels == ()
    rows = [clip.id for clip in dataset.source_of("test")]
    assert dataset.events("test", rows.index(clip.id)) == clip.events
    assert "dropped: 1 soundscapes have no annotation" in dataset.notes


def test_urban_with_a_line_that_is_none(tmp_path):
    place = MINIATURES["urban"].make(tmp_path)
    path = place / "annotations" / "train" / "soundscape_train_uniform0.txt"
    text(path, "0.1 0.2 siren", "0.1 siren")
    message = refusal("urban", data_dir=place)
    assert message.startswith(f"{path}, line 2: is '0.1 siren'")
    text(path, "0.1 0.2 sirens")
    assert "did you mean 'siren'?" in refusal("urban", data_dir=place)


def test_desed_joins_its_lists(tmp_path):
    dataset = load("desed", tmp_path)
    found = by_id(dataset)
    clip = found["train/synthetic21_train/soundscapes/0"]
    speech, bell = dataset.classes.index("Speech"), 0
    assert clip.events == ((speech, 0.0, 0.2), (bell, 0.1, 0.25))
    assert clip.labels == (bell, speech)
    # A weak label without an event, and a clip whose events another list knows.
    weak = found["Y00pbt6aJV8Y_350.000_360.000"]
    assert (names(dataset, weak), weak.events) == ({"Speech", "Dishes"}, ())
    assert found["Y-AbCdEfGhI__350.000_360.000"].events == ((4, 0.1, 0.2),)
    assert found["Y11pbt6aJV8Y_0.000_10.000"].labels == ()
    # An event that goes on where the clip ends.
    frying = found["train/synthetic21_train/soundscapes/1"].events
    assert frying == ((dataset.classes.index("Frying"), 0.0, pytest.approx(0.3)),)
    for note in (
        "dropped: 1 clips are in lists without labels",
        "dropped: 1 listed clips of train are not there",
        "dropped: 1 events end before they begin",
        "dropped: 1 rows name a clip again",
    ):
        assert note in dataset.notes


def test_desed_without_its_public_evaluation(tmp_path):
    place = MINIATURES["desed"].make(tmp_path)
    (place / "metadata" / "eval" / "public.tsv").unlink()
    dataset = load_dataset("desed", data_dir=place)
    assert [clip.id for clip in dataset.source_of("test")] == [
        "Y11pbt6aJV8Y_0.000_10.000"
    ]
    assert dataset.splits["validation"] == 1
    (protocol,) = dataset.protocols()
    assert protocol.name == (
        "recordings of validation are the test; its synthetic clips select"
    )


def test_desed_without_anything_to_test_on(tmp_path):
    place = MINIATURES["desed"].make(tmp_path)
    for path in (place / "metadata").rglob("*.tsv"):
        if "train" not in path.parts:
            path.unlink()
    assert "there are lists of train; train and a test" in refusal(
        "desed", data_dir=place
    )


def test_desed_fl_is_assumed_and_says_what_does_not_fit(tmp_path):
    place = MINIATURES["desed/fl"].make(tmp_path)
    assert "no DESED here, only audio, metadata" in refusal("desed", data_dir=place)
    text(
        place / "metadata" / "train.tsv",
        "filename\tstart\tend\tclass",
        "0.wav\t0\t1\tDog",
    )
    message = refusal("desed/fl", data_dir=place)
    assert "train.tsv: has columns filename, start, end, class" in message
    assert "filename, onset, offset, event_label are expected" in message
    other = tmp_path / "other"
    (place / "audio").rename(other)
    message = refusal("desed/fl", data_dir=other)
    assert "only test, train; give a folder with audio/train/*.wav" in message
