"""Windows are planned from the headers of recordings."""

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.plan import plan_windows
from unmute_jax.datasets.annotations.windows import Cut
from unmute_jax.datasets.files import Folder
from unmute_jax.errors import InputError

CUT = Cut(window=2.0, hop=2.0, min_overlap=0.25)


@pytest.fixture
def root(tmp_path):
    for name, seconds in (("a.wav", 5), ("b.wav", 4)):
        sf.write(tmp_path / name, np.zeros(seconds * 1000), 1000)
    return tmp_path


def event(onset, offset):
    return SoundEvent(onset=onset, offset=offset, label="wren")


def test_windows_come_in_order_and_the_last_of_each_recording_is_marked(root):
    events = {"b.wav": [], "a.wav": [event(1.5, 3.0)]}
    windows, notes = plan_windows(Folder(root), events, CUT, None, skips=False)
    assert [(w.id, w.start, w.end, w.is_last) for w in windows] == [
        ("a.wav-0.000", 0, 2000, False),
        ("a.wav-2.000", 2000, 4000, False),
        ("a.wav-3.000", 3000, 5000, True),
        ("b.wav-0.000", 0, 2000, False),
        ("b.wav-2.000", 2000, 4000, True),
    ]
    assert [w.events for w in windows[:3]] == [
        (("wren", 1.5, 2.0),), (("wren", 0.0, 1.0),), (),
    ]  # fmt: skip
    assert notes == ["windows: 5, with a label: 2"]


def test_the_last_window_is_marked_when_background_is_left_out(root):
    events = {"a.wav": [event(0.5, 1.0)], "b.wav": [event(0.5, 1.0)]}
    windows, notes = plan_windows(Folder(root), events, CUT, 0.0, skips=False)
    assert [(w.id, w.is_last) for w in windows] == [
        ("a.wav-0.000", True), ("b.wav-0.000", True),
    ]  # fmt: skip
    assert notes == ["windows: 5, with a label: 2, kept: 2"]


def test_events_between_windows_are_counted(root):
    sparse = Cut(window=1.0, hop=2.0, min_overlap=0.25)
    events = {"a.wav": [event(0.5, 0.75), event(1.25, 1.75)]}
    _, notes = plan_windows(Folder(root), events, sparse, None, skips=False)
    assert notes[0] == "events that lie between two windows: 1"


def test_recordings_that_cannot_be_opened_are_refused_or_left_out(root):
    (root / "c.wav").write_bytes(b"nothing")
    events = {"a.wav": [], "c.wav": []}
    with pytest.raises(InputError, match=r"c\.wav"):
        plan_windows(Folder(root), events, CUT, None, skips=False)
    windows, notes = plan_windows(Folder(root), events, CUT, None, skips=True)
    assert {w.file for w in windows} == {"a.wav"}
    assert notes[0].startswith("left out: ")
