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
    assert true_score(gains=(1.0,)) > 10


def test_intervals_hold_in_most_experiments():
    found = coverage.count(SMALL, 60)
    assert 0.85 <= found.share <= 1
    assert 10 < found.width < 40


def test_an_interval_that_is_too_narrow_is_found_out(monkeypatch):
    of_blocks = intervals.of_blocks

    def narrow(value, left_out):
        return of_blocks(value, value + (np.asarray(left_out) - value) / 4)

    monkeypatch.setattr(intervals, "of_blocks", narrow)
    world = dataclasses.replace(SMALL, seeds=1, seed_spread=0.0)
    assert coverage.count(world, 60).share < coverage.LOWEST


def test_intervals_of_ranks_hold_and_are_wide_where_encoders_are_close():
    def found(gains):
        return coverage.count_ranks(dataclasses.replace(SMALL, gains=gains), 1, 30)

    close, wide = found((0.01, 0.02))
    apart, narrow = found((1.5, 6.0))
    assert min(close, apart) >= coverage.LOWEST
    assert wide > 1.7
    assert narrow < 0.7


def test_ranks_that_are_too_certain_are_found_out(monkeypatch):
    interval = intervals.Estimate.interval

    def narrow(estimate, **options):
        low, high = interval(estimate, **options)
        middle, half = (low + high) / 2, (high - low) / 8
        return middle - half, middle + half

    monkeypatch.setattr(intervals.Estimate, "interval", narrow)
    world = dataclasses.replace(SMALL, gains=(0.01, 0.02))
    assert coverage.count_ranks(world, 1, 30)[0] < coverage.LOWEST
