"""Every builder on a miniature of its layout, and what all of them promise."""

import shutil

import pytest
import requests

from tests.datasets.layouts import write
from tests.datasets.miniatures import MINIATURES, clips, load, refusal
from tests.datasets.miniatures import main as print_table
from unmute_jax.cli.datasets import main as program
from unmute_jax.datasets import dataset_infos, list_datasets, load_dataset
from unmute_jax.errors import InputError

INFOS = {info.name: info for info in dataset_infos()}


@pytest.mark.parametrize("name", MINIATURES)
def test_the_miniature_of_every_layout(name, tmp_path, capfd):
    dataset, info = load(name, tmp_path), INFOS[name]
    assert dataset.name == name
    assert dataset.splits == MINIATURES[name].splits
    assert dataset.task == info.task
    assert len(dataset.classes) == len(set(dataset.classes))
    assert dataset.has_events == info.has_events
    told = capfd.readouterr().err
    for note in dataset.notes:
        # What is counted while clips are read is told in the results alone.
        assert note in told or "same audio" in note
    if info.layout == "assumed":
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
    # In its folder, and the unpacked files in theirs.
    if kind == "zip" or name in ("urban", "desed"):
        around = load_dataset(name, data_dir=tmp_path / "packed")
        assert around.fingerprints == expected
    assert load_dataset(name, data_dir=place.parent).fingerprints == expected


@pytest.mark.parametrize("name", MINIATURES)
def test_without_files_the_way_to_get_them_is_told(name, monkeypatch, own_cache):
    info = INFOS[name]
    monkeypatch.setattr("requests.get", _no_network)
    message = refusal(name)
    assert str(info.folder) in message
    assert info.folder.is_relative_to(own_cache)
    assert info.home in message
    assert "data_dir" in message
    assert "1. " in message
    for item in info.downloads:
        assert item.url in message


def _no_network(*_, **__):
    raise requests.ConnectionError("no network")


@pytest.mark.parametrize("name", MINIATURES)
def test_a_folder_of_something_else(name, tmp_path):
    write(tmp_path / "other" / "dog" / "a.wav", 0)
    message = refusal(name, data_dir=tmp_path / "other")
    assert str(tmp_path / "other") in message
    assert INFOS[name].files in message


def test_the_same_audio_twice_is_counted(tmp_path):
    place = MINIATURES["fsdd"].make(tmp_path)
    pairs = ("3_jackson_4", "5_jackson_49"), ("6_jackson_10", "7_jackson_10")
    for first, second in pairs:
        data = (place / "recordings" / f"{first}.wav").read_bytes()
        (place / "recordings" / f"{second}.wav").write_bytes(data)
    notes = load_dataset("fsdd", data_dir=place).notes
    assert "1 clips have the same audio as a clip of another split" in notes
    assert "1 clips have the same audio as another clip of their split" in notes


def test_events_are_asked_of_sets_that_have_them(tmp_path):
    with pytest.raises(InputError, match="no onsets and offsets"):
        load("fsdd", tmp_path).events("test", 0)


# The program.


def test_the_list_names_every_data_set(capsys):
    assert program(["--list"]) == 0
    table = capsys.readouterr().out.splitlines()
    listed = {line.split("`")[1] for line in table[2:]}
    assert listed == set(list_datasets()) - {"esc50/esc10"}
    assert len({line.count("|") for line in table}) == 1


def test_the_program_prepares(tmp_path, capsys):
    place = MINIATURES["urban"].make(tmp_path)
    assert program(["urban", "--data_dir", str(place)]) == 0
    told = capsys.readouterr().out
    for part in ("10 classes", "train 2", "44,100 Hz", "CC BY 4.0", "onsets"):
        assert part in told
    assert program(["fsdd", "--data_dir", str(tmp_path / "nowhere")]) == 1
    assert "no such file or folder" in capsys.readouterr().err


def test_the_table_has_every_layout_and_leaves_nothing_in_the_caches(
    capsys, monkeypatch, own_cache
):
    # `main` changes it; after the test it is what it was.
    monkeypatch.setenv("UNMUTE_CACHE", str(own_cache))
    print_table()
    rows = [x.split("|")[1].strip(" `") for x in capsys.readouterr().out.splitlines()]
    assert rows[2:] == ["esc50", "esc10", *MINIATURES]
    assert not own_cache.exists()
