import pytest

from unmute_jax.datasets.few_shot import (
    Focal,
    choose,
    primary,
    usable_events,
    window_start,
)


def focal(name, label=0, seconds=10.0, events=((0.0, 1.0),), has_others=False):
    return Focal(
        name=name, label=label, seconds=seconds, events=events, has_others=has_others
    )


# The events of a recording.


@pytest.mark.parametrize(
    ("events", "clusters", "expected"),
    [
        ([], [], ((0.0, 5.0),)),
        ([[1, 2], [20, 21]], [-1, -1], ((1.0, 2.0), (20.0, 21.0))),
        ([[1, 2], [20, 21], [30, 31]], [-1, -1, 4], ((30.0, 31.0),)),
        ([[1, 2], [20, 21], [40, 41]], [7, 3, 3], ((20.0, 21.0), (40.0, 41.0))),
        ([[1, 2], [20, 21]], [7, 3], ((20.0, 21.0),)),
        ([[10, 30], [12, 13], [50, 51]], [0, 0, 0], ((10.0, 30.0), (50.0, 51.0))),
        # An event with the same onset is not inside the other one.
        ([[10, 12], [10, 13]], [0, 0], ((10.0, 12.0), (10.0, 13.0))),
        # Both have the first five seconds as their window.
        ([[0, 0.5], [1, 1.5]], [0, 0], ((0.0, 0.5),)),
    ],
)
def test_usable_events_follow_the_rule(events, clusters, expected):
    spans = [[float(start), float(end)] for start, end in events]
    assert usable_events(spans, clusters, 60.0) == expected


@pytest.mark.parametrize(
    ("event", "seconds", "start"),
    [
        ((10.0, 11.0), 60.0, 8.0),
        ((1.0, 2.0), 60.0, 0.0),
        ((58.0, 59.0), 60.0, 55.0),
        ((20.0, 40.0), 60.0, 20.0),
        ((1.0, 2.0), 3.0, 0.0),
        ((0.0, 5.0), float("inf"), 0.0),
    ],
)
def test_a_window_has_five_seconds_around_an_event(event, seconds, start):
    assert window_start(event, seconds) == start


def test_strict_and_lenient_recordings_qualify():
    assert focal("a", seconds=20.0).qualifies(strict=False)
    assert not focal("a", seconds=20.5).qualifies(strict=False)
    assert not focal("a", seconds=4.0, has_others=True).qualifies(strict=False)
    assert focal("a", seconds=5.0, has_others=True).qualifies(strict=True)
    assert not focal("a", seconds=5.5).qualifies(strict=True)


# The clips of a class.


def spans(count):
    return tuple((10.0 * i, 10.0 * i + 1) for i in range(count))


def many(label=0, count=12, events=3):
    return [focal(f"{label}-{i}", label, 15.0, spans(events)) for i in range(count)]


def test_enough_recordings_give_one_clip_each():
    chosen = choose(many(), 8, seed=1)
    assert len({recording.name for recording, _ in chosen}) == len(chosen) == 8
    assert all(event == primary(recording, 1) for recording, event in chosen)


def test_few_recordings_give_their_other_events_too():
    chosen = choose(many(count=4), 7, seed=1)
    assert len(chosen) == len(set(chosen)) == 7
    assert len({recording.name for recording, _ in chosen}) == 4
    assert len(choose(many(count=4), 64, seed=1)) == 12


def test_a_draw_is_a_function_of_seed_and_class():
    one = choose(many(), 5, seed=1)
    assert choose(many()[::-1], 5, seed=1) == one
    assert choose([*many(1), *many()], 5, seed=1)[:5] == one
    assert choose(many(), 5, seed=2) != one


def test_filling_up_takes_recordings_that_do_not_qualify():
    recordings = [*many(count=2, events=1), focal("long", seconds=90.0), focal("ok")]
    names = [r.name for r, _ in choose(recordings, 4, seed=1)]
    assert sorted(names) == ["0-0", "0-1", "ok"]
    filled = [r.name for r, _ in choose(recordings, 4, seed=1, fill_up=True)]
    assert filled == [*names, "long"]
    assert len(choose(recordings, 3, seed=1, fill_up=True)) == 3
