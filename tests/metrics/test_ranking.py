"""Ranking metrics equal scikit-learn's, also with ties."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, fbeta_score

from unmute_jax.errors import InputError
from unmute_jax.metrics import (
    best_thresholds,
    mean_average_precision,
    top1_accuracy,
)


def draw(seed, *trials, clips=40, classes=6, levels=None):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(*trials, clips, classes)).astype(np.float32)
    if levels:  # few distinct values, hence many ties
        scores = np.round(scores * levels / 4).astype(np.float32)
    return scores, (rng.random((clips, classes)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("levels", [None, 1, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_average_precision_equals_sklearn(seed, levels):
    scores, labels = draw(seed, 3, levels=levels)
    result = mean_average_precision(scores, labels)
    expected = [average_precision_score(labels, s, average=None) for s in scores]
    np.testing.assert_allclose(result.per_class, expected, rtol=1e-12)
    np.testing.assert_allclose(result.mean, np.mean(expected, -1), rtol=1e-12)
    assert result.masked == 0


def test_stacked_trials_equal_one_at_a_time(monkeypatch):
    monkeypatch.setattr("unmute_jax.metrics.ranking._BLOCK", 100)
    scores, labels = draw(0, 2, 3, levels=5)
    many = mean_average_precision(scores, labels)
    assert many.mean.shape == (2, 3)
    assert many.per_class.shape == (2, 3, 6)
    for i in np.ndindex(2, 3):
        one = mean_average_precision(scores[i], labels)
        np.testing.assert_array_equal(many.per_class[i], one.per_class)
        assert many.mean[i] == one.mean


def test_classes_without_positives_are_left_out_and_counted():
    scores, labels = draw(0)
    labels[:, [1, 4]] = 0
    result = mean_average_precision(scores, labels)
    assert result.masked == 2
    assert np.isnan(result.per_class[[1, 4]]).all()
    rest = [0, 2, 3, 5]
    expected = average_precision_score(labels[:, rest], scores[:, rest])
    np.testing.assert_allclose(result.mean, expected, rtol=1e-12)


def test_no_positive_at_all_is_nan_without_a_warning():
    scores, labels = draw(0)
    result = mean_average_precision(scores, np.zeros_like(labels))
    assert np.isnan(result.mean)
    assert result.masked == 6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_trial_is_nan_and_the_others_are_not(bad):
    scores, labels = draw(0, 2)
    scores[0, 3, 1] = bad
    result = mean_average_precision(scores, labels)
    assert np.isnan(result.mean).tolist() == [True, False]
    assert np.isnan(result.per_class[0]).all()
    assert np.isnan(top1_accuracy(scores, labels)).tolist() == [True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_class_with_a_score_that_is_not_finite_has_no_threshold(bad):
    scores = np.array([[0.9, 0.9], [0.2, 0.2], [0.1, bad]], np.float32)
    labels = np.array([[1, 1], [0, 0], [0, 0]], np.float32)
    np.testing.assert_allclose(best_thresholds(scores, labels), [0.55, np.nan])


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_equals_sklearn(seed):
    scores, _ = draw(seed, 4, levels=2)
    classes = np.random.default_rng(seed).integers(6, size=40)
    expected = [accuracy_score(classes, s.argmax(-1)) for s in scores]
    np.testing.assert_allclose(top1_accuracy(scores, np.eye(6)[classes]), expected)


@pytest.mark.parametrize("metric", [mean_average_precision, top1_accuracy])
def test_mistakes_are_named(metric):
    scores, labels = draw(0)
    with pytest.raises(InputError, match="scores must be"):
        metric(scores[:, :3], labels)
    with pytest.raises(InputError, match="labels must be 0 or 1"):
        metric(scores, labels * 0.5)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_the_best_thresholds_have_the_best_f_score_of_all(beta):
    def f_score(scores, truth, threshold):
        return fbeta_score(truth, scores >= threshold, beta=beta, zero_division=0)

    rng = np.random.default_rng(0)
    scores = rng.random((60, 4), np.float32).round(2)
    labels = rng.random((60, 4)) < scores**2
    labels[:, 3] = False
    thresholds = best_thresholds(scores, labels.astype(np.uint8), beta=beta)
    assert np.isnan(thresholds[3])
    for s, y, threshold in zip(scores.T[:3], labels.T[:3], thresholds[:3], strict=True):
        best = max(f_score(s, y, t) for t in np.unique(s))
        assert f_score(s, y, threshold) == pytest.approx(best, rel=1e-12)
        assert threshold not in s
