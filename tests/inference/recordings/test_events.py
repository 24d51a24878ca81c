import numpy as np

from unmute_jax.encoders import Geometry
from unmute_jax.inference.recordings.events import find_events
from unmute_jax.inference.recordings.partial_results import WindowScores

CLASSES = ("ash", "birch")
GEOMETRY = Geometry(0.2, ((0.0, 200.0), (200.0, 400.0), (400.0, 900.0)))


def window(start, ash, birch, bands=((0, 0), (1, 2))):
    return WindowScores(
        start=float(start),
        end=start + 2.0,
        scores=np.array([ash, birch], np.float32),
        bands=None if bands is None else np.array(bands),
    )


def events(windows, thresholds=(0.5, 0.5), **options):
    found = find_events(
        windows, CLASSES, np.asarray(thresholds, np.float32), GEOMETRY, **options
    )
    return [(e.label, e.onset, e.offset, round(e.score, 4)) for e in found]


def test_windows_of_a_class_that_touch_are_one_event():
    windows = [
        window(0, 0.6, 0.1),
        window(1, 0.9, 0.7),
        window(2, 0.2, 0.5),
        window(3, 0.5, 0.4),
    ]
    assert events(windows) == [
        ("ash", 0, 3, 0.9), ("birch", 1, 4, 0.7), ("ash", 3, 5, 0.5)
    ]  # fmt: skip
    assert events(windows, (0.8, 0.71)) == [("ash", 1, 3, 0.9)]
    assert events(windows, (1.0, 1.0)) == []
    apart = [window(0, 0.9, 0), window(2, 0.9, 0), window(5, 0.9, 0)]
    assert events(apart) == [("ash", 0, 4, 0.9), ("ash", 5, 7, 0.9)]


def test_the_band_of_an_event_holds_those_of_its_windows():
    windows = [window(0, 0.9, 0.9), window(1, 0.9, 0.9, ((1, 1), (1, 1)))]
    ash, birch = find_events(windows, CLASSES, np.full(2, 0.5, np.float32), GEOMETRY)
    assert (ash.low_hz, ash.high_hz) == (0.0, 400.0)
    assert (birch.low_hz, birch.high_hz) == (200.0, 900.0)
    unknown = [window(0, 0.9, 0.1, None)]
    (ash,) = find_events(unknown, CLASSES, np.full(2, 0.5, np.float32), GEOMETRY)
    assert (ash.low_hz, ash.high_hz) == (0.0, 900.0)


def test_windows_may_stay_events_of_their_own():
    windows = [window(0, 0.6, 0.1), window(1, 0.9, 0.1), window(2, 0.7, 0.1)]
    assert events(windows, merge=False) == [
        ("ash", 0, 2, 0.6), ("ash", 1, 3, 0.9), ("ash", 2, 4, 0.7)
    ]  # fmt: skip


def test_long_events_are_divided_without_a_gap_and_without_an_overlap():
    windows = [window(k, 0.9 - 0.1 * k, 0.1) for k in range(4)] + [window(9, 0.8, 0.1)]
    assert events(windows, longest=3.0) == [
        ("ash", 0, 3, 0.9), ("ash", 3, 5, 0.7), ("ash", 9, 11, 0.8)
    ]  # fmt: skip
    assert events(windows, longest=5.0) == events(windows)
