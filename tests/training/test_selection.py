import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.training import selection
from unmute_jax.training.selection import Choice, ValidationScores

NAN = float("nan")


def test_the_best_trial_is_chosen():
    scores = ValidationScores((1, 2), np.asarray([[0.9, 0.1], [0.2, 0.3]]))
    assert selection.choose(scores, "last") == Choice(1, 2, 0.3)
    assert selection.choose(scores, "best") == Choice(0, 1, 0.9)


def test_each_trial_has_its_own_best_epoch():
    scores = ValidationScores((5, 10), np.asarray([[0.9, 0.1], [0.2, 0.3]]))
    assert selection.choices(scores, "last") == [Choice(0, 10, 0.2), Choice(1, 10, 0.3)]
    assert selection.choices(scores, "best") == [Choice(0, 5, 0.9), Choice(1, 10, 0.3)]


def test_on_ties_the_earlier_trial_and_the_later_epoch_win():
    scores = ValidationScores((1, 2, 3), np.asarray([[0.5, 0.5], [0.5, 0.5], [0, 0]]))
    assert selection.choose(scores, "best") == Choice(0, 2, 0.5)


def test_a_diverged_trial_is_never_chosen():
    scores = ValidationScores((1, 2), np.asarray([[0.9, 0.1], [NAN, 0.3]]))
    assert selection.choose(scores, "last") == Choice(1, 2, 0.3)
    lost = ValidationScores((1,), np.asarray([[NAN, NAN]]))
    for epoch in ("last", "best"):
        with pytest.raises(InputError, match="every trial diverged"):
            selection.choose(lost, epoch)


def test_a_diverged_score_is_the_worst():
    scores = [0.2, NAN, 0.9, None, -1.0, float("inf")]
    assert max(scores, key=selection.rank) == 0.9
    assert sorted(scores[:5], key=selection.rank)[2:] == [-1.0, 0.2, 0.9]


def test_nothing_can_be_chosen_on_held_out_clips():
    labels = np.asarray([[1, 0], [0, 1], [1, 1]], np.float32)
    choice = Choice(0, 3, 0.8)
    tested = selection.score_held_out(choice, labels * 2, labels, "multi-label")
    assert tested.value == 1.0
    with pytest.raises(TypeError):
        selection.choose(tested, "last")
    with pytest.raises(TypeError):
        selection.score_held_out(tested, labels, labels, "multi-label")


def test_scores_are_those_of_the_task():
    labels = np.eye(3, dtype=np.float32)
    logits = np.stack([labels, -labels, np.full((3, 3), NAN)], axis=1)
    scores = selection.score(logits.astype(np.float32), labels, "single-label")
    np.testing.assert_array_equal(scores, [1.0, 0.0, NAN])
    scores = selection.score(logits.astype(np.float32), labels, "multi-label")
    assert scores[0] == 1.0
    assert scores[1] < 0.5
    assert np.isnan(scores[2])
