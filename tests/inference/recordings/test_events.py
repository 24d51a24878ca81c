"""From scores to the tables that other programs read."""

import csv
import io

import numpy as np
import pytest

from unmute_jax.encoders import Geometry
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings import selections
from unmute_jax.inference.recordings.events import Event, find_events
from unmute_jax.inference.recordings.partial_results import Heard
from unmute_jax.inference.recordings.thresholds import (
    best_thresholds,
    check_threshold,
    read_thresholds,
)

CLASSES = ("ash", "birch")
GEOMETRY = Geometry(0.2, ((0.0, 200.0), (200.0, 400.0), (400.0, 900.0)))


def heard(start, ash, birch, bands=((0, 0), (1, 2))):
    return Heard(
        start=float(start),
        end=start + 2.0,
        scores=np.array([ash, birch], np.float32),
        bands=None if bands is None else np.array(bands),
    )


def events(windows, thresholds=(0.5, 0.5)):
    found = find_events(windows, CLASSES, np.asarray(thresholds, np.float32), GEOMETRY)
    return [(e.name, e.start, e.end, round(e.score, 4)) for e in found]


def test_windows_of_a_class_that_touch_are_one_event():
    windows = [
        heard(0, 0.6, 0.1),
        heard(1, 0.9, 0.7),
        heard(2, 0.2, 0.5),
        heard(3, 0.5, 0.4),
    ]
    assert events(windows) == [
        ("ash", 0, 3, 0.9), ("birch", 1, 4, 0.7), ("ash", 3, 5, 0.5)
    ]  # fmt: skip
    assert events(windows, (0.8, 0.71)) == [("ash", 1, 3, 0.9)]
    assert events(windows, (1.0, 1.0)) == []
    apart = [heard(0, 0.9, 0), heard(2, 0.9, 0), heard(5, 0.9, 0)]
    assert events(apart) == [("ash", 0, 4, 0.9), ("ash", 5, 7, 0.9)]


def test_the_band_of_an_event_holds_those_of_its_windows():
    windows = [heard(0, 0.9, 0.9), heard(1, 0.9, 0.9, ((1, 1), (1, 1)))]
    ash, birch = find_events(windows, CLASSES, np.full(2, 0.5, np.float32), GEOMETRY)
    assert (ash.low_hz, ash.high_hz) == (0.0, 400.0)
    assert (birch.low_hz, birch.high_hz) == (200.0, 900.0)
    unknown = [heard(0, 0.9, 0.1, None)]
    (ash,) = find_events(unknown, CLASSES, np.full(2, 0.5, np.float32), GEOMETRY)
    assert (ash.low_hz, ash.high_hz) == (0.0, 900.0)


def an_event(**changes):
    facts = {"start": 1.0, "end": 3.25, "name": "great tit", "score": 0.75}
    return Event(**{**facts, "low_hz": 200.0, "high_hz": 900.0, **changes})


def test_the_table_has_one_row_per_event():
    odd = an_event(name='a, "b"')
    rows = list(csv.DictReader(io.StringIO(selections.table([("x.wav", odd)]))))
    assert rows == [
        {
            "file": "x.wav",
            "start_s": "1.000",
            "end_s": "3.250",
            "class": 'a, "b"',
            "score": "0.7500",
            "low_hz": "200",
            "high_hz": "900",
        }
    ]
    assert selections.table([]).count("\n") == 1


def test_a_label_track_is_as_audacity_writes_it():
    assert selections.audacity([an_event()]) == (
        "1.000000\t3.250000\tgreat tit 0.75\n\\\t200.000000\t900.000000\n"
    )
    assert selections.audacity([an_event(name="a\tb")]).count("\t") == 4


def test_a_selection_table_is_as_raven_writes_it():
    lines = selections.raven([an_event(), an_event(start=2.0)]).splitlines()
    assert lines[0].split("\t") == [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)",
        "Low Freq (Hz)", "High Freq (Hz)", "Class", "Score",
    ]  # fmt: skip
    assert lines[1].split("\t") == [
        "1", "Spectrogram 1", "1", "1.000000", "3.250000", "200.0", "900.0",
        "great tit", "0.7500",
    ]  # fmt: skip
    assert lines[2].startswith("2\t")


def f1(scores, truth, threshold):
    found = scores >= threshold
    return 2 * (found & truth).sum() / max(found.sum() + truth.sum(), 1)


def test_the_best_thresholds_have_the_best_f1_of_all():
    rng = np.random.default_rng(0)
    scores = rng.random((60, 4), np.float32).round(2)
    labels = rng.random((60, 4)) < scores**2
    labels[:, 3] = False
    found = best_thresholds(scores, labels.astype(np.uint8))
    assert np.isnan(found[3])
    for s, y, threshold in zip(scores.T[:3], labels.T[:3], found[:3], strict=True):
        best = max(f1(s, y, t) for t in np.unique(s))
        assert f1(s, y, threshold) == best
        assert threshold not in s


def test_thresholds_are_read_by_class(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("\ufeffclass,threshold\nbirch,0.25\n")
    assert read_thresholds(path, CLASSES, 0.5).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class,value\nash,1\n", "needs the columns class and threshold"),
        ("class,threshold\nbrich,1\n", "did you mean 'birch'"),
        ("class,threshold\nash,high\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash,1.5\n", "ash: a threshold is a number from 0 to 1"),
        ("class,threshold\nash\n", "needs the columns class and threshold"),
    ],
)
def test_wrong_thresholds_are_named(text, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_thresholds(path, CLASSES, 0.5)
    with pytest.raises(InputError, match="cannot be read"):
        read_thresholds(tmp_path / "none.csv", CLASSES, 0.5)
    with pytest.raises(InputError, match="--threshold: a threshold is a number"):
        check_threshold(-0.1, "--threshold")
