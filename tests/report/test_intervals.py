import numpy as np
import pytest
import scipy.stats

from unmute_jax.report import intervals
from unmute_jax.report.intervals import Estimate


def test_seeds_alone_give_the_interval_of_student():
    scores = np.array([40.0, 44.0, 42.0, 47.0, 41.0])
    low, high = intervals.of_seeds(scores).interval(is_score=False)
    theirs = scipy.stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((theirs.low, theirs.high))


def test_two_groups_of_different_variance_give_the_interval_of_welch():
    a, b = np.array([40.0, 44, 42, 47, 41]), np.array([30.0, 50, 35])
    clips = Estimate(a.mean() - b.mean(), 0.0, ())
    estimate = intervals.combined(clips, a, b)
    found = estimate.interval(is_score=False)
    theirs = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((theirs.low, theirs.high))


def test_blocks_of_a_mean_give_the_interval_of_student():
    values = np.random.default_rng(0).normal(50, 10, 8)
    without = (values.sum() - values) / 7
    estimate = intervals.of_blocks(values.mean(), without)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = estimate.interval(is_score=False)
    assert found == pytest.approx((theirs.low, theirs.high))
    assert estimate.bias == pytest.approx(0)


def test_the_bias_of_a_biased_variance_is_found():
    """The jackknife of the mean squared deviation gives the unbiased one."""
    values = np.random.default_rng(0).normal(size=12)
    without = np.array([np.delete(values, i).var() for i in range(12)])
    estimate = intervals.of_blocks(values.var(), without)
    assert estimate.value - estimate.bias == pytest.approx(values.var(ddof=1))
    low, high = estimate.interval(is_score=False)
    assert (low + high) / 2 == pytest.approx(values.var(ddof=1))


def test_intervals_of_scores_end_within_0_and_100():
    estimate = Estimate(97.0, 0.0, ((4.0, 50),))
    low, high = estimate.interval(is_score=True)
    assert 85 < low < 97 < high < 100
    _, beyond = estimate.interval(is_score=False)
    assert beyond > 100
    # In the middle both are nearly the same.
    both = [
        Estimate(50.0, 0.0, ((4.0, 50),)).interval(is_score=x) for x in (True, False)
    ]
    assert both[0] == pytest.approx(both[1], abs=0.1)


def test_where_nothing_varies_nothing_is_known():
    for estimate in (
        Estimate(100.0, 0.0, ((0.0, 30),)),
        intervals.of_blocks(50.0, np.full(1, 50.0)),
        intervals.of_blocks(50.0, np.full(9, 50.0)),
        intervals.of_blocks(np.nan, np.full(9, np.nan)),
        intervals.of_seeds(np.array([50.0])),
    ):
        assert np.isnan(estimate.interval(is_score=True)).all()


def test_means_over_data_sets_add_what_they_vary():
    other = Estimate(30.0, 1.0, ((4.0, 3),))
    mean = intervals.mean([Estimate(50.0, 0.0, ((2.0, 9),)), other])
    assert (mean.value, mean.bias, mean.variance) == pytest.approx((40, 0.5, 1.5))


def test_clips_and_seeds_add_what_they_vary():
    scores = np.array([40.0, 44.0])
    found = intervals.combined(Estimate(42.0, 1.0, ((2.0, 9),)), scores)
    assert (found.bias, found.parts) == (1.0, ((2.0, 9), (4.0, 1)))


def test_the_interval_of_a_score_about_which_nothing_is_known_is_all_scores():
    low, high = Estimate(5.0, 20.0, ((800.0, 1),)).interval(is_score=True)
    assert (low, high) == (0.0, 100.0)
