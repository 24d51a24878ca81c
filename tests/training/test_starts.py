import numpy as np
import pytest

from unmute_jax.training.selection import Choice
from unmute_jax.training.starts import chance, never_started, same_for_all

LABELS = np.eye(4)[np.arange(40) % 4]


def test_equal_logits_of_all_clips_are_found():
    rng = np.random.default_rng(0)
    varied = rng.normal(size=(6, 3))
    constant = np.tile(varied[:1], (6, 1))
    almost = constant + 1e-7 * rng.normal(size=constant.shape)
    logits = np.stack([varied, constant, almost, np.full_like(varied, np.nan)], 1)
    found = same_for_all(logits, "multi-label")
    assert found.tolist() == [False, True, True, False]


def test_one_class_for_all_clips_is_the_same_output_where_one_class_is_named():
    logits = np.zeros((5, 1, 3))
    logits[:, 0, 1] = np.arange(1, 6)
    assert same_for_all(logits, "single-label").tolist() == [True]
    assert same_for_all(logits, "multi-label").tolist() == [False]


def test_chance_is_the_largest_class_or_the_mean_share():
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    assert chance(labels, "multi-label") == pytest.approx((0.75 + 0.5) / 2)
    assert chance(labels[:3], "single-label") == pytest.approx(2 / 3)


def history(*losses, same=False):
    return [
        {"epoch": e, "loss": [9.0, loss], "same_for_all": [False, same]}
        for e, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize(
    ("validation", "losses", "same", "expected"),
    [
        (0.25, (1.0, 0.999), False, True),
        # The loss fell, or the score is above chance: it has learnt something.
        (0.25, (1.0, 0.5), False, False),
        (0.9, (1.0, 0.999), False, False),
        # A loss may fall although all clips get the same output.
        (0.25, (1.0, 0.5), True, True),
        (np.nan, (1.0, 1.0), True, False),
        (0.25, (1.0,), False, False),
    ],
)
def test_a_training_that_never_left_its_start(validation, losses, same, expected):
    choice = Choice(1, len(losses), validation)
    made = history(*losses, same=same)
    assert never_started(choice, made, LABELS, "single-label") == expected


def test_a_history_of_an_older_version_is_judged_by_its_losses():
    old = [{"epoch": e, "loss": [1.0], "validation": [0.25]} for e in (1, 2)]
    assert never_started(Choice(0, 2, 0.25), old, LABELS, "single-label")


def test_with_one_class_in_validation_nothing_can_be_told():
    labels = np.eye(4)[np.zeros(10, int)]
    made = history(1.0, 1.0, same=True)
    assert not never_started(Choice(1, 2, 1.0), made, labels, "single-label")
