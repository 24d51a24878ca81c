import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.metrics import frames as fl
from unmute_jax.metrics.events import event_f1, has_sed_eval, importlib

STEP = 0.16


def steps(rule, *events, count=5, classes=2):
    made = fl.rasterise(events, count, STEP, classes, rule)
    return [np.flatnonzero(column).tolist() for column in made.T]


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
def test_a_step_has_the_class_of_what_covers_it(onset, offset, half, touched):
    assert steps("half", (1, onset, offset)) == [[], half]
    assert steps("any", (1, onset, offset)) == [[], touched]


def test_events_of_a_class_add_up_and_overlaps_count_once():
    # Two quarters of a step, apart and on top of each other.
    assert steps("half", (0, 0.0, 0.04), (0, 0.1, 0.14)) == [[0], []]
    assert steps("half", (0, 0.0, 0.04), (0, 0.0, 0.04)) == [[], []]
    # Of different classes they do not.
    assert steps("half", (0, 0.0, 0.04), (1, 0.1, 0.14)) == [[], []]
    joined = list(
        fl.united([(0, 2.0, 3.0), (1, 0.0, 1.0), (0, 0.0, 2.0), (0, 5.0, 6.0)])
    )
    assert joined == [(0, 0.0, 3.0), (0, 5.0, 6.0), (1, 0.0, 1.0)]


def test_events_come_back_from_their_steps():
    events = [(0, 0.16, 0.48), (0, 0.64, 0.8), (1, 0.0, 0.8)]
    active = fl.rasterise(events, 5, STEP, 2) > 0
    np.testing.assert_allclose(fl.events_in(active, STEP), events)
    assert fl.events_in(np.zeros((5, 2), bool), STEP) == []


def test_an_unknown_rule_is_named():
    with pytest.raises(InputError, match="'halves': did you mean 'half'"):
        fl.rasterise([], 3, STEP, 1, "halves")


def test_the_median_takes_out_what_is_shorter_than_half_of_it():
    scores = np.zeros((1, 9, 1), np.float32)
    scores[0, [1, 4, 5, 6], 0] = 1
    kept = fl.smoothed(scores, 3 * STEP, STEP)
    assert np.flatnonzero(kept[0, :, 0]).tolist() == [4, 5, 6]
    assert fl.smoothed(scores, 0.0, STEP) is scores


# Event-based F1


def f1(found, truth, **options):
    pytest.importorskip("sed_eval", exc_type=ImportError)
    return event_f1([found], [truth], ("ash", "birch"), **options)


def test_an_event_is_right_where_class_and_times_are():
    truth = [(0, 1.0, 2.0), (1, 4.0, 8.0)]
    assert f1(truth, truth) == 1
    assert f1([(0, 1.19, 2.19), (1, 4.0, 8.7)], truth) == 1
    # The class, an onset, an offset, and a second answer to the same event.
    assert f1([(1, 1.0, 2.0), (1, 4.0, 8.0)], truth) == pytest.approx(1 / 3)
    assert f1([(0, 1.3, 2.0), (1, 4.0, 8.0)], truth) == 0.5
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], truth) == 0.5
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], truth, offset_share=-1.0) == 1
    assert f1([(0, 1.0, 2.3), (1, 4.0, 8.0)], truth, collar=0.4) == 1
    assert f1([*truth, (0, 1.1, 2.0)], truth) == pytest.approx((2 / 3 + 1) / 2)
    assert f1([], truth) == 0
    # A class without an event does not count, one that is never found does.
    assert f1([(0, 1.0, 2.0), (1, 1.0, 2.0)], truth[:1]) == 1
    assert f1([(0, 1.0, 2.0)], truth) == 0.5


def test_without_the_library_it_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    assert not has_sed_eval()
    with pytest.raises(InputError, match=r"unmute-jax\[sed\].*No module named"):
        event_f1([], [], ())
