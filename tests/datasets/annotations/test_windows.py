"""Recordings are cut into windows, and events count in some of them."""

import math

import pytest

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.windows import (
    Cut,
    events_of_windows,
    fewer_background,
    within,
)
from unmute_jax.errors import InputError


def cut(window=5.0, hop=5.0, min_overlap=0.25):
    return Cut(window=window, hop=hop, min_overlap=min_overlap)


def event(onset, offset, label="wren"):
    return SoundEvent(
        onset=float(onset), offset=float(offset), label=label, where="t.txt, line 2"
    )


@pytest.mark.parametrize(
    ("seconds", "hop", "starts"),
    [
        (20, 5, [0, 5, 10, 15]),
        # The last window ends with the recording ...
        (22, 5, [0, 5, 10, 15, 17]),
        # ... if there is enough of it.
        (20.04, 5, [0, 5, 10, 15]),
        (14, 2.5, [0, 2.5, 5, 7.5, 9]),
        (22, 10, [0, 10]),
        (3, 5, [0]),
    ],
)
def test_windows_cover_a_recording_to_its_end(seconds, hop, starts):
    spans = cut(hop=float(hop)).spans(round(seconds * 100), 100)
    assert [start / 100 for start, _ in spans] == starts
    assert {end - start for start, end in spans} == {min(500, round(seconds * 100))}


@pytest.mark.parametrize(
    ("onset", "offset", "counted"),
    [
        (1, 2, [0]),
        # 0.2 s are too little of a long event, 0.25 s are enough.
        (4.8, 8, [1]),
        (4.75, 8, [0, 1]),
        # Of a short event half is enough.
        (4.9, 5.1, [0, 1]),
        (4.95, 5.1, [1]),
        (3, 17, [0, 1, 2, 3]),
        # A point counts in the window that it lies in.
        (5, 5, [1]),
        (20, 20, []),
    ],
)
def test_an_event_counts_where_enough_of_it_lies(onset, offset, counted):
    spans = [(5.0 * k, 5.0 * k + 5) for k in range(4)]
    found = events_of_windows([event(onset, offset)], spans, cut())
    assert [k for k, of_window in enumerate(found) if of_window] == counted


def test_every_event_counts_somewhere_whatever_its_length():
    spans = [(5.0 * k, 5.0 * k + 5) for k in range(10)]
    events = [event(k / 7, k / 7 + 10 ** (k % 5 - 3)) for k in range(250)]
    found = events_of_windows(events, spans, cut(min_overlap=4.0))
    assert {e.onset for of_window in found for e in of_window} == {
        e.onset for e in events
    }


def test_an_event_may_be_longer_than_many_short_windows():
    spans = [(0.1 * k, 0.1 * k + 0.1) for k in range(10)]
    found = events_of_windows([event(0.26, 0.66)], spans, cut(window=0.1, hop=0.1))
    assert [k for k, of_window in enumerate(found) if of_window] == [3, 4, 5, 6]


def test_overlapping_windows_and_events_are_all_seen():
    spans = [(2.5 * k, 2.5 * k + 5) for k in range(4)]
    found = events_of_windows(
        [event(6, 7, "b"), event(0, 12, "a"), event(1, 2, "c")], spans, cut(hop=2.5)
    )
    assert [[e.label for e in of_window] for of_window in found] == [
        ["a", "c"], ["a", "b"], ["a", "b"], ["a"],
    ]  # fmt: skip


def test_events_beyond_the_end_are_refused():
    with pytest.raises(
        InputError,
        match=r"t\.txt, line 2: 'wren' from 500 to 900 s is beyond the end of a\.wav, "
        r"which lasts 60 s; onsets and offsets are in seconds",
    ):
        within([event(500, 900)], "a.wav", 60.0)
    with pytest.raises(InputError, match="from 0 to 900 s is beyond the end"):
        within([event(0, 900)], "a.wav", 60.0)
    with pytest.raises(InputError, match="from 60 to 60 s is beyond the end"):
        within([event(60, 60)], "a.wav", 60.0)


def test_events_are_cut_off_at_the_end_of_a_recording():
    events = [event(59, 60.5), event(50, math.inf), event(1, 2)]
    assert [e.offset for e in within(events, "a.wav", 60.0)] == [60, 60, 2]


def test_background_is_thinned_out_and_always_the_same():
    ids = [f"a.wav-{k}" for k in range(100)]
    labelled = [k % 10 == 0 for k in range(100)]
    kept = fewer_background(ids, labelled, 2.0)
    assert len(kept) == 30
    assert set(range(0, 100, 10)) <= set(kept)
    # Another window without a label changes nothing but itself.
    again = fewer_background([*ids, "b"], [*labelled, False], 2.0)
    assert len(set(kept) - set(again)) <= 1
    assert fewer_background(ids, labelled, 0.0) == list(range(0, 100, 10))
    assert fewer_background(ids, labelled, 50.0) == list(range(100))


@pytest.mark.parametrize(
    "changes", [{"window": 0.0}, {"hop": -1.0}, {"min_overlap": -0.1}]
)
def test_impossible_windows_are_refused(changes):
    with pytest.raises(InputError, match="are seconds"):
        cut(**changes)
