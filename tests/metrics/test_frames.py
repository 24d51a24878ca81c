"""Labels of time steps from events, and events from scores of time steps."""

import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.metrics import active_events, median_filter, merge_overlaps, rasterise

STEP = 0.16


def steps(rule, *events, count=5, classes=2):
    """The time steps in which each class is active."""
    labels = rasterise(events, count, STEP, classes, rule)
    return [np.flatnonzero(column).tolist() for column in labels.T]


@pytest.mark.parametrize(
    ("onset", "offset", "half", "touched"),
    [
        (0.0, 0.16, [0], [0]),
        # On the edges of steps, whichever way the division is rounded.
        (0.16, 0.48, [1, 2], [1, 2]),
        (3 * 0.16, 5 * 0.16, [3, 4], [3, 4]),
        # Exactly half of a step, and a little less.
        (0.08, 0.24, [0, 1], [0, 1]),
        (0.09, 0.24, [1], [0, 1]),
        # Shorter than half a step.
        (0.30, 0.34, [], [1, 2]),
        # Beyond the last step.
        (0.75, 9.0, [], [4]),
        (0.7, 9.0, [4], [4]),
        (2.0, 3.0, [], []),
    ],
)
def test_a_step_has_the_classes_that_cover_it(onset, offset, half, touched):
    assert steps("half", (1, onset, offset)) == [[], half]
    assert steps("any", (1, onset, offset)) == [[], touched]


def test_events_of_a_class_add_up_and_overlaps_count_once():
    # Two quarters of a step, apart and on top of each other.
    assert steps("half", (0, 0.0, 0.04), (0, 0.1, 0.14)) == [[0], []]
    assert steps("half", (0, 0.0, 0.04), (0, 0.0, 0.04)) == [[], []]
    # Of different classes they do not.
    assert steps("half", (0, 0.0, 0.04), (1, 0.1, 0.14)) == [[], []]
    events = [(0, 2.0, 3.0), (1, 0.0, 1.0), (0, 0.0, 2.0), (0, 5.0, 6.0)]
    assert list(merge_overlaps(events)) == [(0, 0.0, 3.0), (0, 5.0, 6.0), (1, 0.0, 1.0)]


def test_events_come_back_from_their_steps():
    events = [(0, 0.16, 0.48), (0, 0.64, 0.8), (1, 0.0, 0.8)]
    active = rasterise(events, 5, STEP, 2) > 0
    np.testing.assert_allclose(active_events(active, STEP), events)
    assert active_events(np.zeros((5, 2), bool), STEP) == []


def test_an_unknown_rule_is_named():
    with pytest.raises(InputError, match="'halves': did you mean 'half'"):
        rasterise([], 3, STEP, 1, "halves")


def test_the_median_removes_events_shorter_than_half_its_width():
    scores = np.zeros((1, 9, 1), np.float32)
    scores[0, [1, 4, 5, 6], 0] = 1
    everything = np.ones((1, 9), bool)
    filtered = median_filter(scores, everything, 3 * STEP, STEP)
    assert np.flatnonzero(filtered[0, :, 0]).tolist() == [4, 5, 6]
    assert median_filter(scores, everything, 0.0, STEP) is scores


@pytest.mark.parametrize("junk", [0.0, 1.0, np.nan])
def test_the_median_is_that_of_each_clip_alone(junk):
    lengths = (6, 3, 6, 1)
    rng = np.random.default_rng(0)
    clips = [rng.random((n, 2)).astype(np.float32) for n in lengths]
    scores = np.full((4, 6, 2), junk, np.float32)
    for row, clip in zip(scores, clips, strict=True):
        row[: len(clip)] = clip
    mask = np.arange(6)[None] < np.asarray(lengths)[:, None]
    filtered = median_filter(scores, mask, 5 * STEP, STEP)
    for got, clip in zip(filtered, clips, strict=True):
        alone = np.ones((1, len(clip)), bool)
        expected = median_filter(clip[None], alone, 5 * STEP, STEP)[0]
        np.testing.assert_array_equal(got[: len(clip)], expected)
        np.testing.assert_array_equal(got[len(clip) :], junk)
