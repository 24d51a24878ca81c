"""Which clip of a folder has which class and split, and what is left out."""

import pytest

from unmute_jax.datasets.class_folders import read_class_folders
from unmute_jax.errors import InputError


@pytest.fixture
def read(tmp_path):
    """Reads a folder with some empty files, as (file, class, split), and its notes."""

    def read(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        entries, notes = read_class_folders(tmp_path)
        return [(e.file, *e.labels, e.split) for e in entries], notes

    return read


def refusal(read, *names):
    with pytest.raises(InputError) as caught:
        read(*names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_are_classes(read):
    clips, notes = read("wren/day 1/2.WAV", "wren/1.wav", "robin/1.flac")
    assert clips == [
        ("robin/1.flac", "robin", ""),
        ("wren/1.wav", "wren", ""),
        ("wren/day 1/2.WAV", "wren", ""),
    ]
    assert notes == []


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "dev", "eval")]
)
def test_folders_of_splits_hold_the_classes(read, names):
    clips, notes = read(*(f"{n}/{c}/1.wav" for n in names for c in ("cat", "dog")))
    splits = dict(zip(names, ("train", "validation", "test"), strict=True))
    assert sorted(clips) == sorted(
        (f"{name}/{label}/1.wav", label, split)
        for name, split in splits.items()
        for label in ("cat", "dog")
    )
    assert notes == []


def test_classes_hold_folders_of_splits(read):
    clips, notes = read("cat/train/1.wav", "cat/test/2.wav", "dog/train/a/3.wav")
    assert clips == [
        ("cat/test/2.wav", "cat", "test"),
        ("cat/train/1.wav", "cat", "train"),
        ("dog/train/a/3.wav", "dog", "train"),
    ]
    assert notes == []


def test_folders_of_splits_in_some_classes_only_are_told(read):
    clips, notes = read("cat/train/1.wav", "cat/test/2.wav", "dog/3.wav")
    assert {split for _, _, split in clips} == {""}
    assert notes == [
        "2 of 3 clips lie in folders such as test inside of their class; these are not "
        "taken as splits, because the other clips have none"
    ]


def test_a_class_may_be_called_train(read):
    clips, notes = read("train/1.wav", "airplane/1.wav", "siren/1.wav")
    assert [label for _, label, _ in clips] == ["airplane", "siren", "train"]
    assert notes == [
        "the folder train is a class, not a split, because the other folders "
        "(airplane, siren) are no splits"
    ]


def test_splits_beside_classes_are_refused(read):
    text = refusal(read, "train/cat/1.wav", "test/cat/2.wav", "noise/3.wav")
    assert "named after splits (test, train) lie beside others (noise)" in text
    text = refusal(read, "train/1.wav", "test/2.wav", "noise/3.wav")
    assert "named after splits (test, train) lie beside others (noise)" in text


def test_one_split_folder_with_folders_beside_a_class_is_refused(read):
    text = refusal(read, "train/cat/1.wav", "x/3.wav")
    assert "named after splits (train) lie beside others (x)" in text


def test_splits_without_classes_and_two_names_of_a_split_are_refused(read):
    text = refusal(read, "train/1.wav", "test/2.wav")
    assert "named after splits (test, train) hold audio without folders" in text
    text = refusal(read, "train/a/1.wav", "test/a/2.wav", "eval/a/2.wav")
    assert "eval and test are names of the same split, test" in text


def test_what_holds_no_audio_is_no_split_and_no_class(read):
    """A folder with tables beside the splits does not make them classes."""
    clips, notes = read("train/cat/1.wav", "test/dog/2.wav", "meta/a.csv", "README.md")
    assert [(label, split) for _, label, split in clips] == [
        ("dog", "test"),
        ("cat", "train"),
    ]
    assert notes == ["left out: 1 .csv (meta/a.csv), 1 .md (README.md)"]


def test_a_class_without_readable_audio_is_told(read):
    names = [f"frog/{i}.rm" for i in range(4)]
    _, notes = read("low/1.wav", "high/1.wav", "low/2.sph", "loose.wav", *names)
    assert notes == [
        "class frog has no readable audio (4 .rm)",
        "left out: 1 .sph (low/2.sph), 1 .wav beside the folders of classes "
        "(loose.wav)",
    ]


def test_empty_classes_and_classes_within_splits_are_told(read, tmp_path):
    (tmp_path / "toad").mkdir()
    _, notes = read("low/1.wav", "high/1.wav", "frog/1.rm")
    assert notes == ["classes without readable audio: frog (1 .rm), toad (no files)"]


def test_a_class_without_audio_within_a_split_is_told(read):
    _, notes = read("train/a/1.wav", "test/a/2.wav", "train/frog/1.rm", "train/3.wav")
    assert notes == [
        "class frog has no readable audio (1 .rm)",
        "left out: 1 .wav beside the folders of classes (train/3.wav)",
    ]


def test_hidden_folders_are_no_classes(read):
    clips, notes = read("a/1.wav", "b/1.wav", ".cache/1.wav", "b/@eaDir/1.wav/X")
    assert [file for file, _, _ in clips] == ["a/1.wav", "b/1.wav"]
    assert notes == ["left out: 2 hidden or system folders (.cache, ...)"]


def test_the_names_of_classes_are_normalised(read):
    clips, _ = read("Mo\u0308we/1.wav", "Möwe /2.wav", "dog/1.wav")
    assert {label for _, label, _ in clips} == {"Möwe", "dog"}


def test_a_folder_without_audio_says_what_is_there(read):
    assert "there is 1 .rm (a/1.rm)" in refusal(read, "a/1.rm")
    text = refusal(read, "1.wav")
    assert "1 .wav beside the folders of classes (1.wav)" in text


def test_folders_of_folds_are_groups(tmp_path, read):
    read("fold1/cat/1.wav", "fold2/cat/2.wav", "fold2/dog/3.wav")
    entries, notes = read_class_folders(tmp_path)
    assert [(*e.labels, e.group) for e in entries] == [
        ("cat", "fold1"),
        ("cat", "fold2"),
        ("dog", "fold2"),
    ]
    assert notes == []


def test_folds_without_classes_are_refused(read):
    text = refusal(read, "fold1/1.wav", "fold2/2.wav")
    assert "named after folds (fold1, fold2) hold audio without folders" in text


def test_folds_beside_classes_are_refused(read):
    text = refusal(read, "fold1/a/1.wav", "fold2/a/2.wav", "noise/1.wav")
    assert "named after folds (fold1, fold2) lie beside others (noise)" in text


def test_the_folder_around_the_classes_is_refused_with_the_right_one(tmp_path, read):
    text = refusal(read, "audio/cat/1.wav", "audio/dog/2.wav")
    assert text.endswith(f"name {tmp_path / 'audio'}")


def test_one_recording_in_two_formats_is_told(read):
    _, notes = read("a/1.wav", "a/1.mp3", "b/1.wav")
    assert notes == [
        "files that differ in their suffix only, such as a/1.mp3 and a/1.wav (1 "
        "names), may be copies of one recording in different splits"
    ]
