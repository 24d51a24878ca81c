import os
import tarfile

import pytest

from tests.datasets.layouts import tar, text
from tests.datasets.miniatures import MINIATURES, refusal
from unmute_jax.datasets import archives
from unmute_jax.errors import InputError


@pytest.fixture
def archive(tmp_path):
    text(tmp_path / "files" / "inner" / "a.txt", "hello")
    return tar(tmp_path / "files", tmp_path / "a.tar.gz")


def test_a_tar_is_unpacked_once(archive, monkeypatch):
    folder = archives.unpack(archive)
    assert (folder / "inner" / "a.txt").read_text() == "hello\n"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    monkeypatch.setattr(archives, "_extract", None)
    assert archives.unpack(archive) == folder


def test_a_changed_tar_is_unpacked_anew(archive, tmp_path):
    first = archives.unpack(archive)
    text(tmp_path / "files" / "b.txt", "more")
    tar(tmp_path / "files", archive)
    second = archives.unpack(archive)
    assert second != first
    assert (second / "b.txt").exists()


def test_two_processes_with_the_same_id_may_unpack_at_once(archive, monkeypatch):
    # As in two containers that share a folder over the network.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    extract = archives._extract

    def overtaken(source, folder):
        monkeypatch.setattr(archives, "_extract", extract)
        archives.unpack(archive)
        extract(source, folder)

    monkeypatch.setattr(archives, "_extract", overtaken)
    folder = archives.unpack(archive)
    assert (folder / "inner" / "a.txt").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_others_may_read_what_was_unpacked(archive, tmp_path):
    (tmp_path / "usual").mkdir()
    usual = (tmp_path / "usual").stat().st_mode
    assert archives.unpack(archive).stat().st_mode == usual


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path):
    text(tmp_path / "a.txt", "hello")
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.add(tmp_path / "a.txt", "../../outside.txt")
    with pytest.raises(InputError):
        archives.unpack(tmp_path / "a.tar")
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_tar_that_is_cut_short_is_named_and_leaves_nothing(tmp_path, own_cache):
    place = MINIATURES["sc2/twelve"].make(tmp_path)
    archive = place / "speech_commands_v0.02.tar.gz"
    archive.write_bytes(archive.read_bytes()[:20_000])
    assert "not a whole tar archive" in refusal("sc2", data_dir=archive)
    assert list((own_cache / "datasets" / "unpacked").iterdir()) == []


def test_on_a_full_disk_the_place_is_named_and_nothing_is_left(
    archive, own_cache, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "_extract", full)
        with pytest.raises(InputError) as caught:
            archives.unpack(archive)
    unpacked = own_cache / "datasets" / "unpacked"
    message = str(caught.value)
    assert message.startswith(f"{archive}: cannot be unpacked: {unpacked}/")
    assert "No space left on device (" in message
    assert "UNMUTE_CACHE names another folder" in message
    assert list(unpacked.iterdir()) == []
    assert archives.unpack(archive).exists()


def test_an_archive_with_a_long_name_is_unpacked(archive, tmp_path):
    long = archive.rename(tmp_path / f"{240 * 'x'}.tar.gz")
    assert (archives.unpack(long) / "inner" / "a.txt").exists()
