import itertools

import numpy as np
import pytest

from unmute_jax.inference.recordings.partial_results import WindowScores
from unmute_jax.inference.recordings.time_steps import steps_of


def window(start, seconds=1.0, value=None, steps=10):
    """A window whose steps have the number of the step, or one value, as a score."""
    rows = np.arange(steps) if value is None else np.full(steps, value)
    return WindowScores(
        start=start,
        end=start + seconds,
        scores=np.zeros(1, np.float32),
        bands=None,
        steps=rows[:, None].astype(np.float32),
    )


def test_each_window_gives_the_steps_that_are_nearer_to_its_middle():
    windows = [window(0.0, value=0), window(0.4, value=1), window(0.8, value=2)]
    steps = steps_of(windows, 0.1, 0.0)
    assert len(steps) == 18
    starts, ends = ([getattr(s, end) for s in steps] for end in ("start", "end"))
    np.testing.assert_allclose(starts, 0.1 * np.arange(18), atol=1e-9)
    assert starts[1:] == ends[:-1]
    assert ends[-1] == pytest.approx(1.8)
    # The middles of the overlaps are at 0.7 and 1.1 s.
    assert [int(s.scores[0]) for s in steps] == [0] * 7 + [1] * 4 + [2] * 7


def test_steps_touch_where_the_grids_of_windows_do_not_agree():
    steps = steps_of([window(0.0), window(0.53)], 0.1, 0.0)
    assert all(a.end == b.start for a, b in itertools.pairwise(steps))
    assert all(0.0499 < s.end - s.start < 0.1501 for s in steps)


def test_padding_behind_a_short_window_is_left_out():
    steps = steps_of([window(0.0), window(1.0, seconds=0.25)], 0.1, 0.0)
    assert [int(s.scores[0]) for s in steps] == [*range(10), 0, 1]
    assert steps_of([], 0.1, 0.0) == []


def test_scores_are_filtered_across_windows():
    windows = [window(0.0, value=1), window(1.0, value=0), window(2.0, value=1)]
    windows[0].steps[5] = 0
    values = [s.scores[0] for s in steps_of(windows, 0.1, 0.3)]
    assert values == [1] * 10 + [0] * 10 + [1] * 10
