"""Annotations find their recordings, in whatever folders both lie."""

import pathlib

import pytest

from unmute_jax.datasets.annotations.matching import Matcher
from unmute_jax.errors import InputError

ROOT = pathlib.Path("/data")


def matcher(*names):
    return Matcher({name: ROOT / name for name in names})


@pytest.mark.parametrize(
    ("annotation", "recording"),
    [
        ("a.txt", "a.wav"),
        ("a.wav.txt", "a.wav"),
        ("a.Table.1.selections.txt", "a.wav"),
        ("a.b.selections.txt", "a.b.flac"),
        ("ab.txt", None),
        ("elsewhere/a.txt", "a.wav"),
    ],
)
def test_a_file_annotates_the_recording_that_it_is_named_after(annotation, recording):
    assert matcher("a.wav", "a.b.flac").annotated_by(ROOT / annotation) == recording


def test_recordings_of_one_name_are_told_apart_by_their_folders():
    two = matcher("audio/s1/0.wav", "audio/s2/0.wav")
    assert two.annotated_by(ROOT / "audio/s2/0.txt") == "audio/s2/0.wav"
    assert two.annotated_by(ROOT / "labels/s1/0.txt") == "audio/s1/0.wav"
    with pytest.raises(InputError, match=r"0\.txt: may belong to audio/s1/0.wav or to"):
        two.annotated_by(ROOT / "labels/0.txt")


def test_an_annotation_never_goes_to_the_recording_of_another_site():
    lacking = matcher("audio/s1/0.wav", "audio/s1/1.wav", "audio/s2/1.wav")
    assert lacking.annotated_by(ROOT / "audio/s2/0.txt") is None
    assert lacking.annotated_by(ROOT / "labels/s2/0.txt") is None
    assert lacking.named("0.wav", ROOT / "audio/s2", "") is None
    assert lacking.named("s2/0.wav", ROOT, "") is None


@pytest.mark.parametrize(
    ("file", "folder", "recording"),
    [
        ("s1/0.wav", "", "s1/0.wav"),
        ("0.wav", "s2", "s2/0.wav"),
        ("../s1/0.wav", "s2", "s1/0.wav"),
        ("/data/s1/0.wav", "elsewhere", "s1/0.wav"),
        (r"D:\spring\s2\0.wav", "elsewhere", "s2/0.wav"),
        (r"s2\0.wav", "elsewhere", "s2/0.wav"),
        ("1.wav", "elsewhere", None),
    ],
)
def test_a_named_recording_is_found(file, folder, recording):
    two = matcher("s1/0.wav", "s2/0.wav")
    assert two.named(file, ROOT / folder, "t.csv, line 2") == recording


def test_accents_may_be_written_in_two_ways():
    assert (
        matcher("gru\u0308n.wav").named("gr\u00fcn.wav", ROOT, "") == "gru\u0308n.wav"
    )
