"""Folders of cells on a disk, and copies of those in a bucket."""

import uuid

from unmute_jax.grid import folders


def test_a_copy_sends_changed_files_but_no_checkpoints(tmp_path):
    place = f"memory://{uuid.uuid4().hex}"
    copy = folders.Copy(tmp_path / "here", place)
    copy.fetch()
    for name in ("a.json", "results/b.json", "checkpoints/c/d", ".half.tmp"):
        (copy.here / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.here / name).write_text(name)
    copy.send()
    assert folders.list_files(place) == ["a.json", "results/b.json"]
    assert dict(copy._changed()) == {}
    other = folders.Copy(tmp_path / "there", place)
    other.fetch()
    assert (other.here / "results/b.json").read_text() == "results/b.json"
    assert dict(other._changed()) == {}


def test_a_folder_on_a_disk_is_used_directly(tmp_path):
    with folders.open_folder(tmp_path, "cell") as folder:
        (folder / "results").mkdir(parents=True)
        (folder / "results" / "a.json").touch()
    assert folder == tmp_path / "cells" / "cell"
    assert folders.count_files(tmp_path, "cell", "results") == 1


def test_a_folder_in_a_bucket_is_sent_when_it_is_closed(monkeypatch, tmp_path):
    root = f"memory://{uuid.uuid4().hex}"
    for host in ("one", "two"):
        monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / host))
        with folders.open_folder(root, "cell") as folder:
            assert (folder / "a.json").exists() == (host == "two")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "a.json").write_text("{}")
