"""Locks between processes, held by real ones that are killed."""

import json
import logging
import os
import platform
import threading

import pytest

from tests.held import held_elsewhere
from unmute_jax import locks
from unmute_jax.errors import InputError
from unmute_jax.locks import locked


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path):
    path = tmp_path / "new" / "lock"
    with held_elsewhere(path) as process:
        with pytest.raises(InputError) as caught:
            with locked(path, "preparing esc50", patience=0.0):
                pass
        who = f"process {process.pid} on {platform.node()}): wait until it ends"
        assert str(caught.value).startswith("another process is preparing esc50 (since")
        assert who in str(caught.value)
        process.kill()
        process.wait()
        with locked(path, "preparing esc50", patience=0.0):
            holder = json.loads((tmp_path / "new" / "lock.holder").read_text())
            assert holder["process"] == os.getpid()
    # Some versions of filelock delete the lock file.
    assert set(os.listdir(path.parent)) <= {"lock"}


def test_who_waits_says_for_whom(tmp_path, caplog):
    path, entered = tmp_path / "lock", []

    def wait():
        with locked(path, "preparing esc50"):
            entered.append(True)

    with caplog.at_level(logging.WARNING), held_elsewhere(path) as process:
        thread = threading.Thread(target=wait)
        thread.start()
        while not caplog.messages:
            thread.join(0.05)
        assert not entered
        process.communicate("")  # It leaves.
        thread.join(30)
    assert entered
    [line] = caplog.messages
    assert line.startswith("another process is preparing esc50 (since ")
    assert f"process {process.pid} on " in line
    assert line.endswith("): waiting for it")


def test_a_damaged_note_of_the_holder_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_MOMENT", 0.0)
    path = tmp_path / "lock"
    line = "^another process is preparing esc50: wait until it ends, or stop it$"
    with held_elsewhere(path):
        for text in ("", "[]", "{}", '{"since": 1}', "[" * 50_000, '{"since": "\0"}'):
            (tmp_path / "lock.holder").write_text(text)
            with pytest.raises(InputError, match=line):
                with locked(path, "preparing esc50", patience=0.0):
                    pass


def test_a_note_of_another_day_has_its_date(tmp_path):
    path = tmp_path / "lock"
    about = {"host": "a\nb", "process": 7, "since": "2020-01-02T12:00:00+00:00"}
    with held_elsewhere(path):
        (tmp_path / "lock.holder").write_text(json.dumps(about))
        line = r"\(since 2020-01-0\d \d\d:\d\d, process 7 on a b\)"
        with pytest.raises(InputError, match=line):
            with locked(path, "preparing esc50", patience=0.0):
                pass


def test_a_lock_that_cannot_be_written_names_its_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as caught:
        with locked(tmp_path / "file" / "lock", "preparing esc50"):
            pass
    assert caught.value.filename is not None
