"""Processes are killed as often as was said, and what goes wrong is told."""

import pytest

from experiments.checks import killable
from unmute_jax.errors import InputError


class Fake:
    """A process that has begun at once, and ends when it is told that it may."""

    def __init__(self, may_end):
        self.begun_at, self.dies_at = None, float("inf")
        self.may_end, self.was_killed = may_end, False

    def has_begun(self):
        return True

    def is_over(self):
        return self.begun_at is not None and self.may_end

    def kill(self):
        self.was_killed = True


def test_each_life_ends_in_a_kill_and_the_others_come_to_their_end():
    made, noted = [], []

    def start():
        made.append(Fake(may_end=len(made) >= 3))
        return made[-1]

    kills, seconds = killable.run(
        start, 2, [0.0, 0.0, 0.0], lambda: noted.append(len(made))
    )
    assert kills == 3
    assert seconds >= 0
    # Two at a time; nobody took the place of one before the kill was noted.
    assert noted == [2, 3, 4]
    assert [fake.dies_at == float("inf") for fake in made] == [False] * 3 + [True] * 2


def test_an_error_is_passed_on_and_nobody_is_left_behind():
    made = [Fake(may_end=False), Fake(may_end=False)]

    def fail():
        raise InputError("no room")

    made[0].is_over = fail
    left = iter(made)
    with pytest.raises(InputError, match="no room"):
        killable.run(lambda: next(left), 2)
    assert all(fake.was_killed for fake in made)


def test_what_a_process_said_is_told_when_it_fails(tmp_path):
    def start():
        return killable.Killable("train", ["--dryrun"], tmp_path)

    with pytest.raises(InputError, match=r"train ended with 2: .*'--dryrun'"):
        killable.run(start)
