"""What all builders of published files promise, on a miniature of every layout."""

import shutil

import pytest

from tests.datasets.layouts import write
from tests.datasets.miniatures import MINIATURES, clips, refusal
from unmute_jax.datasets import dataset_infos, load_dataset
from unmute_jax.errors import InputError

INFOS = {info.name: info for info in dataset_infos()}


@pytest.mark.parametrize("name", MINIATURES)
def test_clips_are_complete_and_consistent(name, loaded):
    dataset, info = loaded(name), INFOS[name]
    assert dataset.name == name
    assert dataset.splits == MINIATURES[name].splits
    assert dataset.task == info.task
    assert len(dataset.classes) == len(set(dataset.classes))
    assert dataset.has_events == info.has_events
    is_assumed = [n for n in dataset.notes if "layout of its files is assumed" in n]
    assert bool(is_assumed) == (info.layout == "assumed")
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
    assert dataset.groups.keys() <= set(ids)
    (protocol,) = dataset.protocols()
    assert (protocol.validation, protocol.test) == (("validation",), ("test",))
    assert not any("same audio" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("as20k/segments", "zip"),
        ("desed", "gztar"),
        ("desed/fl", "zip"),
        ("fsdd", "zip"),
        ("sc2", "tar"),
        ("spass/waterfront", "zip"),
        ("spass/waterfront", "gztar"),
        ("urban", "gztar"),
    ],
)
def test_an_archive_is_as_good_as_its_folder(name, kind, tmp_path):
    place = MINIATURES[name].make(tmp_path / "unpacked" / "files")
    expected = load_dataset(name, data_dir=place).fingerprints
    packed = shutil.make_archive(
        str(tmp_path / "packed" / "URBAN-SED_v2"), kind, place.parent, place.name
    )
    assert load_dataset(name, data_dir=packed).fingerprints == expected
    # So is the folder around the archive, and the one around the files.
    if kind == "zip" or name in ("urban", "desed"):
        around = load_dataset(name, data_dir=tmp_path / "packed")
        assert around.fingerprints == expected
    assert load_dataset(name, data_dir=place.parent).fingerprints == expected


@pytest.mark.parametrize("name", MINIATURES)
def test_without_files_the_message_says_how_to_get_them(name, monkeypatch, own_cache):
    info = INFOS[name]
    monkeypatch.setattr("unmute_jax.datasets.info.download", _no_network)
    message = refusal(name)
    assert str(info.folder) in message
    assert info.folder.is_relative_to(own_cache)
    assert info.home in message
    assert "data_dir" in message
    assert "1. " in message
    for item in info.downloads:
        assert item.url in message


def _no_network(*_, **__):
    raise InputError("no network")


@pytest.mark.parametrize("name", MINIATURES)
def test_a_folder_of_something_else_is_refused(name, tmp_path):
    write(tmp_path / "other" / "dog" / "a.wav", 0)
    message = refusal(name, data_dir=tmp_path / "other")
    assert str(tmp_path / "other") in message
    assert INFOS[name].files in message


def test_notes_are_printed_when_clips_are_prepared(place_of, verbose, capfd):
    place = place_of("fsd50k")
    dataset = load_dataset("fsd50k", data_dir=place)
    printed = capfd.readouterr().err
    assert len(dataset.notes) > 3
    assert all(note in printed for note in dataset.notes)
    load_dataset("fsd50k", data_dir=place)
    assert capfd.readouterr().err == ""


def test_long_clips_are_cut_and_short_clips_stay_short(loaded):
    dataset = loaded("fsd50k")
    assert dataset.clip_seconds == 10.0
    assert min(len(c.waveform) for c in dataset.source_of("test")) == 8820
    assert "clips are cut to their first 10 s" in dataset.notes


def test_clips_that_are_listed_twice_are_counted(loaded):
    assert "dropped: 1 rows name a clip again" in loaded("fsd50k").notes


def test_missing_files_stop_the_preparation_or_are_left_out(tmp_path):
    place = MINIATURES["fsd50k"].make(tmp_path)
    (place / "FSD50K.dev_audio" / "16399.wav").unlink()
    message = refusal("fsd50k", data_dir=place)
    assert "1 of its 5 files are missing" in message
    assert "16399.wav" in message
    dataset = load_dataset("fsd50k", data_dir=place, on_bad="skip")
    assert dataset.splits == {"train": 1, "validation": 1, "test": 2}
    assert "1 unreadable clip skipped: " in str(dataset.notes)


def test_repeated_audio_is_counted(tmp_path):
    place = MINIATURES["fsdd"].make(tmp_path)
    pairs = ("3_jackson_4", "5_jackson_49"), ("6_jackson_10", "7_jackson_10")
    for first, second in pairs:
        data = (place / "recordings" / f"{first}.wav").read_bytes()
        (place / "recordings" / f"{second}.wav").write_bytes(data)
    notes = load_dataset("fsdd", data_dir=place).notes
    assert "1 clips have the same audio as a clip of another split" in notes
    assert "1 clips have the same audio as another clip of their split" in notes
