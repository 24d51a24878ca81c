"""The count of intervals that hold, in small worlds."""

import dataclasses

import numpy as np
import pytest

from experiments.checks import coverage
from experiments.checks.coverage import World
from unmute_jax.report import intervals

SMALL = World(name="small", groups=60, seeds=4, classes=2, seed_spread=0.3)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(coverage, "MANY_CLIPS", 4000)
    monkeypatch.setattr(coverage, "MANY_SEEDS", 4)


def true_score(**changes):
    return coverage.true_score(dataclasses.replace(SMALL, **changes))


def test_the_true_score_is_known_where_it_needs_no_sample():
    # Without separation the order is random, and precision is the share of positives.
    chance = true_score(separation=0.0, seed_spread=0.0, share=0.3)
    assert chance == pytest.approx(30, abs=1.5)
    assert true_score(separation=20.0) == pytest.approx(100, abs=0.01)
    assert true_score(separation=20.0, is_accuracy=True) == 100
    assert true_score(gain=1.0) > 10


def test_intervals_hold_in_most_experiments():
    found = coverage.count(SMALL, 60, 20)
    assert 0.85 <= found.ours <= 1
    assert 10 < found.width < 40


def test_an_interval_that_is_too_narrow_is_found_out(monkeypatch):
    of_blocks = intervals.of_blocks

    def narrow(value, left_out):
        return of_blocks(value, value + (np.asarray(left_out) - value) / 4)

    monkeypatch.setattr(intervals, "of_blocks", narrow)
    world = dataclasses.replace(SMALL, seeds=1, seed_spread=0.0)
    assert coverage.count(world, 60, 5).ours < coverage.LOWEST
