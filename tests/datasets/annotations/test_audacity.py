"""Label tracks of Audacity."""

import pytest

from unmute_jax.datasets.annotations import audacity
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError


def read(text):
    return [(e.onset, e.offset, e.label) for e in audacity.read(text, "t.txt")]


def test_labels_points_and_frequency_lines_are_read():
    # As in the manual of Audacity.
    text = (
        "1.000000\t1.000000\tThis point was clicked at 6928.456055 Hz\r\n"
        "\\\t6928.456055\t6928.456055\r\n"
        "2.000000\t2.500000\twren\r\n"
        "\\\t-1.000000\t6334.588867\r\n"
        "3.000000\t3.500000\r\n"
        "4.000000\t4.500000\ta [b]\tc\r\n"
    )
    assert audacity.is_label_track(text)
    assert read(text) == [
        (1, 1, "This point was clicked at 6928.456055 Hz"),
        (2, 2.5, "wren"),
        (3, 3.5, ""),
        (4, 4.5, "a [b]\tc"),
    ]


def test_a_decimal_comma_is_understood():
    text = "0,450000\t0,900000\twren\n"
    assert audacity.is_label_track(text)
    assert read(text) == [(0.45, 0.9, "wren")]


def test_an_empty_track_has_no_events():
    assert audacity.is_label_track("\n")
    assert read("\n") == []


@pytest.mark.parametrize("text", ["some notes\n", "1\n", "1\ttwo\tthree\n"])
def test_other_texts_are_no_label_tracks(text):
    assert not audacity.is_label_track(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("soon\t2\twren", r"t\.txt, line 2: onset is 'soon', not seconds"),
        ("12", r"t\.txt, line 2: is not a label: onset, offset, text"),
        ("2\t1\twren", "line 2: an event cannot last from 2 to 1 s"),
    ],
)
def test_lines_that_make_no_sense_are_refused(line, message):
    with pytest.raises(InputError, match=message):
        read(f"0\t1\twren\n{line}\n")


def test_what_is_written_is_read_again():
    events = [
        SoundEvent(
            onset=1.0,
            offset=3.25,
            label="great\ttit",
            score=0.75,
            low_hz=200.0,
            high_hz=900.0,
        ),
        SoundEvent(onset=4.0, offset=4.5, label="wren 0.75"),
    ]
    text = audacity.write(events)
    assert text == (
        "1.000000\t3.250000\tgreat tit [0.75]\n\\\t200.000000\t900.000000\n"
        "4.000000\t4.500000\twren 0.75\n"
    )
    assert read(text) == [(1, 3.25, "great tit"), (4, 4.5, "wren 0.75")]
