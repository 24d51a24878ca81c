"""Folders as people have them: hidden and system folders, links, odd names."""

import os

import pytest

from unmute_jax.audio.listing import check_name, describe, is_hidden, list_audio
from unmute_jax.errors import InputError


def make(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_audio_is_listed_by_suffix_in_any_case_and_the_rest_is_counted(tmp_path):
    make(tmp_path, "b/2.WAV", "b/1.Flac", "a/x/3.ogg", "a-b.mp3")
    make(tmp_path, "b/notes.txt", "a/list.TXT", "README", "a/4.sph")
    listing = list_audio(tmp_path)
    assert listing.audio == ("a/x/3.ogg", "a-b.mp3", "b/1.Flac", "b/2.WAV")
    assert listing.folders == ("a", "b")
    assert describe(listing.left_out) == (
        "1 .sph (a/4.sph), 2 .txt (a/list.TXT, ...), 1 file without a suffix (README)"
    )
    assert describe(listing.left_out, names=False) == (
        "1 .sph, 2 .txt, 1 file without a suffix"
    )


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints",
        ".Trash-1000",
        "@eaDir",
        "__MACOSX",
        "$RECYCLE.BIN",
        "System Volume Information",
        "#recycle",
        "lost+found",
    ],
)
def test_hidden_and_system_folders_are_left_out_wherever_they_are(tmp_path, name):
    make(tmp_path, "a/1.wav", f"a/{name}/1.wav", f"{name}/a/2.wav")
    listing = list_audio(tmp_path)
    assert listing.audio == ("a/1.wav",)
    assert listing.folders == ("a",)
    assert describe(listing.left_out, names=False) == "2 hidden or system folders"
    assert is_hidden(name)


def test_hidden_files_and_folders_named_like_files_are_left_out(tmp_path):
    make(tmp_path, "a/1.wav", "a/._1.wav", "a/.DS_Store", "a/Thumbs.db")
    make(tmp_path, "a/2.wav/SYNOINDEX_MEDIA_INFO", "a/3.mp3/3.wav")
    listing = list_audio(tmp_path)
    assert listing.audio == ("a/1.wav",)
    assert describe(listing.left_out) == (
        "2 folders named like files (a/2.wav, ...), 1 hidden file (a/._1.wav)"
    )


def test_links_are_followed_but_not_around_in_circles(tmp_path):
    make(tmp_path, "store/1.wav", "root/b/2.wav")
    root = tmp_path / "root"
    (root / "a").symlink_to(tmp_path / "store")
    (root / "b" / "up").symlink_to(root)
    (root / "b" / "self").symlink_to("self")
    (root / "b" / "off").symlink_to("unmounted")
    # An audio file that is gone is for the reader to name.
    (root / "b" / "gone.wav").symlink_to("nowhere.wav")
    (root / "b" / "linked.wav").symlink_to(tmp_path / "store" / "1.wav")
    listing = list_audio(root)
    assert listing.audio == ("a/1.wav", "b/2.wav", "b/gone.wav", "b/linked.wav")
    assert describe(listing.left_out) == (
        "1 link to a folder around it (b/up), 2 links to nothing (b/off, ...)"
    )


def test_pipes_are_not_opened(tmp_path):
    make(tmp_path, "1.wav")
    os.mkfifo(tmp_path / "2.wav")
    listing = list_audio(tmp_path)
    assert listing.audio == ("1.wav",)
    assert describe(listing.left_out) == "1 pipe or device (2.wav)"


def test_a_locale_that_hides_names_is_named(monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    with pytest.raises(InputError, match=r"as ascii here.*: set PYTHONUTF8=1"):
        check_name("V\udcc3\udcb6gel.wav")


@pytest.mark.parametrize("name", [b"a/m\xf6we.wav", b"m\xf6we/a.wav"])
def test_a_name_that_is_not_utf8_is_refused_in_one_line(tmp_path, name):
    path = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(path))
    open(path, "wb").close()
    with pytest.raises(InputError) as caught:
        list_audio(tmp_path)
    text = str(caught.value)
    text.encode()
    assert r"m\xf6we" in text
    assert "is not valid UTF-8" in text
    assert "\n" not in text


def test_odd_names_of_other_files_do_not_matter(tmp_path):
    make(tmp_path, "a/1.wav")
    open(os.path.join(os.fsencode(tmp_path), b"m\xf6we.txt"), "wb").close()
    os.mkdir(os.path.join(os.fsencode(tmp_path), b"m\xf6we"))
    listing = list_audio(tmp_path)
    assert listing.audio == ("a/1.wav",)
    describe(listing.left_out).encode()
    "".join(listing.folders).encode()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(InputError, match="none: cannot be listed: No such file"):
        list_audio(tmp_path / "none")
