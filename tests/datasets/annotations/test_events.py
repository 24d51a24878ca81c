"""Sound events."""

import pytest

from unmute_jax.datasets.annotations.events import SoundEvent, check_times, one_line
from unmute_jax.errors import InputError


def test_an_event_may_have_no_length_but_no_negative_one():
    point = SoundEvent(onset=1.0, offset=1.0, label="wren", where="t.txt, line 3")
    assert check_times(point) is point
    assert str(point) == "'wren' from 1 to 1 s"
    backwards = SoundEvent(onset=1.0, offset=0.5, label="wren", where="t.txt, line 3")
    with pytest.raises(InputError, match=r"t\.txt, line 3: an event cannot last from"):
        check_times(backwards)


def test_labels_are_brought_to_one_line():
    assert one_line("great\ttit\n(song)") == "great tit (song)"
