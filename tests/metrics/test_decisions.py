"""Counts of decisions, and calibration."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_fscore_support

from unmute_jax.metrics.decisions import (
    calibration,
    count_decisions,
    overlapping,
    rates,
)


def random_decisions(n=200, c=3):
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=(n, c))
    return scores, rng.uniform(size=(n, c)) < scores**2


def test_rates_are_those_of_scikit_learn():
    scores, true = random_decisions()
    counts = count_decisions(scores > 0.6, true)
    assert (counts.true_positives + counts.false_negatives).tolist() == (
        true.sum(0).tolist()
    )
    expected = precision_recall_fscore_support(true, scores > 0.6)[:3]
    np.testing.assert_allclose(np.stack(rates(counts)), np.stack(expected))


def test_rates_of_nothing_are_unknown_and_not_zero():
    none = np.zeros((4, 3), bool)
    decided, true = none.copy(), none.copy()
    decided[0, 1] = true[0, 2] = True
    found = rates(count_decisions(decided, true))
    np.testing.assert_array_equal(found.precision, [np.nan, 0, np.nan])
    np.testing.assert_array_equal(found.recall, [np.nan, np.nan, 0])
    np.testing.assert_array_equal(found.f1, [np.nan, 0, 0])


@pytest.mark.parametrize(
    ("spans", "others", "count"),
    [
        ([(0, 1), (2, 3), (4, 5)], [(0.5, 2.5)], 2),
        ([(0, 1)], [(1, 2)], 0),
        ([(1, 1)], [(0, 2)], 1),
        ([(0, 2)], [(1, 1)], 1),
        ([(0, 1)], [], 0),
    ],
)
def test_stretches_that_overlap_are_counted(spans, others, count):
    spans, others = ([(float(a), float(b)) for a, b in x] for x in (spans, others))
    assert overlapping(spans, others) == count


def test_bins_compare_scores_with_the_truth():
    scores, true = random_decisions()
    found = calibration(scores, true)
    shares, means = calibration_curve(true.ravel(), scores.ravel(), n_bins=10)
    np.testing.assert_allclose(found.true_shares, shares)
    np.testing.assert_allclose(found.mean_scores, means)
    assert found.counts.sum() == scores.size
    ends = calibration(np.array([0.0, 1.0]), np.array([False, True]), bins=4)
    assert ends.counts.tolist() == [1, 0, 0, 1]
    assert np.isnan(ends.mean_scores[1])
