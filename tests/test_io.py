"""Caches, and files that are written atomically."""

import os
import stat

import pytest

from unmute_jax import io
from unmute_jax.errors import InputError


def test_a_url_is_no_folder_of_caches(monkeypatch):
    monkeypatch.setenv(io.CACHE_VARIABLE, "gs://bucket/caches")
    with pytest.raises(InputError, match="must be a folder"):
        io.cache_dir("tokens")
    monkeypatch.setenv(io.TOKENS_VARIABLE, "gs://bucket/tokens")
    assert io.token_root() == "gs://bucket/tokens"


def test_two_writers_with_the_same_process_id_do_not_meet(monkeypatch, tmp_path):
    # As in two containers that share a disk.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    target = tmp_path / "new" / "record.json"
    with io.writing(target) as first:
        first.write(b"first")
        io.write_atomically(target, "second")
        assert target.read_text() == "second"
    assert target.read_bytes() == b"first"
    assert os.listdir(target.parent) == [target.name]


def test_a_file_that_is_not_finished_does_not_appear(tmp_path):
    def write_half():
        with io.writing(tmp_path / "a.json") as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())


def test_a_file_is_readable_by_those_who_may_read_its_folder(tmp_path):
    for folder, file in ((0o750, 0o640), (0o1777, 0o644)):
        tmp_path.chmod(folder)
        io.write_atomically(tmp_path / "a.json", "1")
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == file
