"""Every builder on a miniature of its layout, and what all of them promise."""

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.miniatures import MINIATURES, write
from unmute_jax.datasets import all_facts, list_datasets, load_dataset
from unmute_jax.datasets.__main__ import main as program
from unmute_jax.errors import InputError

FACTS = {facts.name: facts for facts in all_facts()}


def refusal(name, **options):
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    return str(caught.value)


def load(name, tmp_path, **options):
    return load_dataset(name, data_dir=MINIATURES[name].make(tmp_path), **options)


def clips(dataset):
    return {split: list(dataset.source_of(split)) for split in dataset.splits}


@pytest.mark.parametrize("name", MINIATURES)
def test_the_miniature_of_every_layout(name, tmp_path, capfd):
    dataset, facts = load(name, tmp_path), FACTS[name]
    assert dataset.name == name
    assert dataset.splits == MINIATURES[name].splits
    assert dataset.task == facts.task
    assert len(dataset.classes) == len(set(dataset.classes))
    assert dataset.has_events == facts.is_strong
    told = capfd.readouterr().err
    for note in dataset.notes:
        # What is counted while clips are read is told in the results alone.
        assert note in told or "same audio" in note
    if facts.layout == "assumed":
        assert any("layout of its files is assumed" in note for note in dataset.notes)
    ids = []
    for split, found in clips(dataset).items():
        for clip in found:
            ids.append(clip.id)
            assert len(clip.waveform)
            assert list(clip.labels) == sorted(set(clip.labels))
            assert all(0 <= c < len(dataset.classes) for c in clip.labels)
            for c, onset, offset in clip.events:
                assert c in clip.labels
                assert 0 <= onset < offset
            if dataset.task == "single-label":
                assert len(clip.labels) == 1
        if dataset.has_events:
            assert dataset.events(split, 0) == found[0].events
    assert len(ids) == len(set(ids))
    (protocol,) = dataset.protocols()
    assert (protocol.validation, protocol.test) == (("validation",), ("test",))
    assert not any("same audio" in note for note in dataset.notes)


@pytest.mark.parametrize("name", MINIATURES)
def test_without_files_the_way_to_get_them_is_told(name, monkeypatch, own_cache):
    facts = FACTS[name]
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    message = refusal(name)
    assert str(own_cache / "datasets" / name.split("/")[0]) in message
    assert facts.home in message
    assert "data_dir" in message
    assert "1. " in message
    for item in facts.downloads:
        assert item.url in message


def _no_network(*_, **__):
    raise OSError("no network")


@pytest.mark.parametrize("name", MINIATURES)
def test_a_folder_of_something_else(name, tmp_path):
    write(tmp_path / "other" / "dog" / "a.wav", 0)
    message = refusal(name, data_dir=tmp_path / "other")
    assert str(tmp_path / "other") in message
    assert FACTS[name].files in message


def test_the_same_audio_in_two_splits_is_counted(tmp_path):
    place = MINIATURES["fsdd"].make(tmp_path)
    data = (place / "recordings" / "3_jackson_4.wav").read_bytes()
    (place / "recordings" / "5_jackson_49.wav").write_bytes(data)
    notes = load_dataset("fsdd", data_dir=place).notes
    assert "1 clips have the same audio as a clip of another split" in notes


def test_events_are_asked_of_sets_that_have_them(tmp_path):
    with pytest.raises(InputError, match="no onsets and offsets"):
        load("fsdd", tmp_path).events("test", 0)


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
    assert "'hello' is no word" in refusal("sc2", data_dir=place)


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


# The program.


def test_the_list_names_every_data_set(capsys):
    assert program(["--list"]) == 0
    table = capsys.readouterr().out.splitlines()
    listed = {line.split("`")[1] for line in table[2:]}
    assert listed == set(list_datasets()) - {"esc50/esc10"}
    assert len({line.count("|") for line in table}) == 1


def test_the_program_prepares(tmp_path, capsys):
    place = MINIATURES["fsdd"].make(tmp_path)
    assert program(["fsdd", "--data_dir", str(place)]) == 0
    told = capsys.readouterr().out
    for part in ("10 classes", "train 40", "8,000 Hz", "CC BY-SA 4.0"):
        assert part in told
    assert program(["fsdd", "--data_dir", str(tmp_path / "nowhere")]) == 1
    assert "no such file or folder" in capsys.readouterr().err
