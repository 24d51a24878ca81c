import shutil

import pytest

from tests.datasets.layouts import text
from unmute_jax.datasets.finding import find_all, find_files, find_parts
from unmute_jax.errors import InputError


@pytest.fixture
def root(tmp_path):
    text(tmp_path / "place" / "root" / "meta" / "one.csv", "one")
    text(tmp_path / "place" / "root" / "audio" / "a.wav", "sound")
    return tmp_path / "place" / "root"


def packed(folder, path, kind):
    """Packs a folder together with its name and returns the archive."""
    return shutil.make_archive(str(path), kind, folder.parent, folder.name)


@pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
def test_a_data_set_is_found_in_folders_and_archives(kind, root, tmp_path):
    archive = packed(root, tmp_path / "packed" / "any", kind)
    archives = ("*.zip", "*.tar*")
    for place in (root, root.parent, archive, tmp_path / "packed"):
        files = find_files(place, "meta/*.csv", archives)
        assert files is not None
        assert files.names() == ["audio/a.wav", "meta/one.csv"]
        assert files.read("meta/one.csv") == b"one\n"
    assert find_files(root, "meta/*.tsv") is None
    # A star does not match a slash.
    assert find_files(archive, "m*one.csv", archives) is None


def test_several_copies_are_refused(root):
    shutil.copytree(root, root.parent / "second")
    with pytest.raises(InputError, match=r"several copies.*root.*second"):
        find_files(root.parent, "meta/one.csv")


@pytest.mark.parametrize(
    "find",
    [
        lambda place: find_files(place, "meta/one.csv"),
        lambda place: find_parts(place, {"meta/one.csv": ()}),
        lambda place: find_all(place, ["meta/one.csv"], ["*.zip"]),
    ],
)
def test_places_that_cannot_be_read_are_named(find, tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        find(tmp_path / "nowhere")
    (tmp_path / "cut.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="not a zip archive"):
        find(tmp_path / "cut.zip")


def test_all_parts_must_be_there(root):
    parts = {"meta/one.csv": ("meta*.zip",), "audio/*.wav": ("audio*.zip",)}
    assert find_parts(root, parts).read("audio/a.wav") == b"sound\n"
    assert find_parts(root.parent, parts).read("audio/a.wav") == b"sound\n"
    shutil.make_archive(str(root / "audio1"), "zip", root, "audio")
    shutil.rmtree(root / "audio")
    assert find_parts(root, parts).read("audio/a.wav") == b"sound\n"
    (root / "audio1.zip").unlink()
    with pytest.raises(InputError, match=r"has meta/one.csv, but no audio/\*.wav"):
        find_parts(root, parts)
    assert find_parts(root / "meta", parts) is None


def test_any_number_of_folders_and_archives_is_joined(root, tmp_path):
    place = tmp_path / "spread"
    text(place / "audio" / "b.wav", "another")
    packed(root, place / "x", "zip")
    files = find_all(place, ["meta/*.csv", "audio/*.wav"], ["*.zip"])
    assert files.names("audio") == ["audio/a.wav", "audio/b.wav"]
    assert files.read("meta/one.csv") == b"one\n"
    assert find_all(place, ["nothing/*.csv"], ["*.zip"]) is None
