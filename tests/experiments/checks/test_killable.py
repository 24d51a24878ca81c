"""Processes are killed as often as asked, and errors reach the caller."""

import sys

import pytest

from experiments.checks import killable
from unmute_jax.errors import InputError


class Fake:
    """A process that begins at once and ends only if it may."""

    def __init__(self, may_end):
        self.began_at, self.kill_at = None, float("inf")
        self.may_end, self.was_killed = may_end, False

    def has_begun(self):
        return True

    def is_over(self):
        return self.began_at is not None and self.may_end

    def kill(self):
        self.was_killed = True


def test_each_lifetime_ends_in_a_kill_and_the_others_run_to_their_end():
    started, noted = [], []

    def start():
        started.append(Fake(may_end=len(started) >= 3))
        return started[-1]

    kills, seconds = killable.run(
        start, 2, [0.0, 0.0, 0.0], lambda: noted.append(len(started))
    )
    assert kills == 3
    assert seconds >= 0
    # There are two at a time, and a kill is noted before the process is replaced.
    assert noted == [2, 3, 4]
    assert [fake.kill_at == float("inf") for fake in started] == [False] * 3 + [
        True
    ] * 2


def test_an_error_is_passed_on_and_no_process_is_left_behind():
    started = [Fake(may_end=False), Fake(may_end=False)]

    def fail():
        raise InputError("no room")

    started[0].is_over = fail
    left = iter(started)
    with pytest.raises(InputError, match="no room"):
        killable.run(lambda: next(left), 2)
    assert all(fake.was_killed for fake in started)


def test_the_output_of_a_process_is_shown_when_it_fails(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\necho "unknown flag $3, cache in $UNMUTE_CACHE"\nexit 2'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def start():
        return killable.Killable("train", ["--dryrun"], tmp_path / "cache")

    with pytest.raises(
        InputError,
        match=rf"train ended with 2: .*'?--dryrun, cache in {tmp_path}/cache",
    ):
        killable.run(start)


def test_caches_may_share_folders(tmp_path):
    (tmp_path / "one/datasets").mkdir(parents=True)
    killable.share_caches(tmp_path / "one", tmp_path / "two", ["datasets"])
    (tmp_path / "two/datasets/file").write_text("shared")
    assert (tmp_path / "one/datasets/file").read_text() == "shared"
