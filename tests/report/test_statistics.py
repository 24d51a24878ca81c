import math

import numpy as np
import pytest
import scipy.stats

from unmute_jax.report import statistics as s


def test_a_win_is_more_than_one_standard_deviation():
    # Three probes, four configurations; probe 2 lacks the last.
    means = np.array([[50.0, 50, 50, 50], [52, 51, 50.5, 40], [49, 60, 50.5, np.nan]])
    sds = np.array([[1.0, 1, 1, 1], [1.9, 0.5, 0.1, 0.1], [0.1, np.nan, 0.1, 0.1]])
    none = np.zeros(means.shape, bool)
    # 1 over 0: 2 > 1.9 wins, 1 > 1 does not, 0.5 > 1 does not, and it loses the last.
    assert s.wins(means, sds, none).tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    # If probe 2 diverged on the last one instead, the others beat it there.
    diverged = np.isnan(means)
    assert s.wins(means, sds, diverged).tolist() == [[0, 1, 1], [1, 0, 2], [0, 0, 0]]


def test_ranks_share_ties_and_diverged_trainings_are_last():
    scores = np.array([[50.0, 70], [60, 70], [60, 10], [40, 80]])
    expected = [[3, 2.5], [1.5, 2.5], [1.5, 4], [4, 1]]
    np.testing.assert_array_equal(s.ranks(scores), expected)
    many = np.stack([scores, scores[::-1]])
    np.testing.assert_array_equal(s.ranks(many)[1], expected[::-1])
    scores = np.array([[math.nan, 1.0], [3.0, math.nan], [2.0, math.nan]])
    np.testing.assert_array_equal(s.ranks(scores), [[3, 1], [1, 2.5], [2, 2.5]])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(s.kendall, scipy.stats.kendalltau), (s.spearman, scipy.stats.spearmanr)],
)
def test_correlations_are_those_of_scipy(ours, theirs):
    rng = np.random.default_rng(0)
    # Small integers: with ties.
    a, b = rng.integers(0, 4, (2, 30, 6)).astype(float)
    expected = [theirs(x, y).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ours(a, b), expected, atol=1e-12)
    assert math.isnan(ours(np.ones(4), np.arange(4.0)))
    assert ours(np.arange(4.0), -np.arange(4.0)) == pytest.approx(-1)


def test_the_gap_is_the_papers():
    # EAT on as20k: "about 63 %".
    assert s.gap_closed(31.67, 17.29, 40.2) == pytest.approx(62.8, abs=0.05)
    assert math.isnan(s.gap_closed(31.67, 41.0, 40.2))


def trial(rate, score, **more):
    return {"learning_rate": rate, "validation": score, **more}


def test_the_loss_of_a_wrong_rate_by_hand():
    tried = [
        trial(0.001, 0.40), trial(0.003, 0.55), trial(0.01, 0.60), trial(0.03, 0.50),
        trial(0.1, None),
    ]  # fmt: skip
    found = s.sensitivity(tried)
    assert found is not None
    assert (found.best, found.at_edge, found.trials) == (0.01, False, 5)
    # The edge is that of the range, wherever the trials lie.
    wide, narrow = (s.sensitivity(tried, ends=e) for e in ((1e-5, 0.3), (9e-3, 0.1)))
    assert wide is not None
    assert narrow is not None
    assert (wide.at_edge, narrow.at_edge) == (False, True)
    # Off by 3: 60 less 55 on one side, 60 less 50 on the other.
    assert found.loss[3] == pytest.approx(7.5)
    # Off by 10: 60 less 40, and all of it where the trial diverged.
    assert found.loss[10] == pytest.approx((20 + 60) / 2)
    assert found.diverged == pytest.approx(0.2)


def test_the_loss_of_a_random_search_uses_the_best_trial_nearby():
    tried = [
        trial(0.01, 0.6, weight_decay=1e-4, status="finished"),
        trial(0.028, 0.3, weight_decay=1e-5, status="finished"),
        trial(0.031, 0.58, weight_decay=1e-4, status="stopped"),
        # Not chosen, though it is the best: it was stopped before its end.
        trial(0.0101, 0.9, weight_decay=1e-4, status="stopped"),
        trial(0.5, None, weight_decay=1e-4, status="diverged"),
    ]
    found = s.sensitivity(tried)
    assert found is not None
    assert found.best == 0.01
    assert found.loss[3] == pytest.approx(2.0)
    assert math.isnan(found.loss[10])
    assert (found.at_edge, found.stopped) == (True, 0.4)


def test_a_stopped_trial_keeps_its_distance_to_the_best():
    tried = [
        trial(0.01, 0.6, status="finished", epochs=9),
        trial(0.03, 0.3, status="stopped", epochs=1),
        trial(0.1, None, status="diverged", epochs=1),
    ]
    histories = [{1: 0.4, 3: 0.5, 9: 0.6}, {1: 0.3}, {1: None}]
    known = s.sensitivity(tried, histories)
    assert known is not None
    assert known.loss[3] == pytest.approx(10)
    assert known.loss[10] == pytest.approx(60)
    # One that was ahead when it was stopped is no better than the best.
    ahead = s.sensitivity(
        [tried[0], trial(0.03, 0.5, status="stopped", epochs=1)], histories
    )
    assert ahead is not None
    assert ahead.loss[3] == 0
    unknown = s.sensitivity(tried)
    assert unknown is not None
    assert unknown.loss[3] == pytest.approx(30)


def test_a_probe_without_learning_rates_has_no_sensitivity():
    assert s.sensitivity([{"neighbours": n, "validation": 0.5} for n in (1, 5)]) is None


def test_one_rate_has_no_sensitivity():
    assert s.sensitivity([]) is None
    assert s.sensitivity([trial(0.1, 0.5), trial(0.1, 0.4)]) is None
    assert s.sensitivity([trial(0.1, None), trial(0.2, None)]) is None
