"""Tables of events."""

import pytest

from unmute_jax.datasets.annotations import event_table
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError


def read(text, label_column=""):
    return [
        (r.file, r.event and (r.event.onset, r.event.offset, r.event.label))
        for r in event_table.read(text, "t.csv", label_column)
    ]


def test_events_and_recordings_without_any_are_read():
    text = (
        "file, onset,offset,label,site,split\r\n"
        'a.wav,0.5,1.5,"tit, great",north,train\r\n'
        "b.wav,,,,south,test\r\n"
    )
    assert read(text) == [("a.wav", (0.5, 1.5, "tit, great")), ("b.wav", None)]
    first, second = event_table.read(text, "t.csv")
    assert (first.group, first.split) == ("north", "train")
    assert (second.group, second.split, second.where) == (
        "south", "test", "t.csv, line 3",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "Start (s);End (s);Scientific name;Common name;Confidence;File\n"
        "1.0;4.0;Parus major;robin;0.9;x.wav\n",
        "filename\tstart_time\tend_time\tspecies\nx.wav\t1\t4\trobin\n",
        "Begin File,Begin Time (s),End Time (s),Annotation,Species\nx.wav,1,4,,robin\n",
    ],
)
def test_names_of_other_programs_are_understood(text):
    assert read(text) == [("x.wav", (1, 4, "robin"))]


def test_the_label_column_can_be_named():
    text = "file,onset,offset,label,call\nx.wav,1,2,robin,trill\n"
    assert read(text, "call") == [("x.wav", (1, 2, "trill"))]
    with pytest.raises(
        InputError, match=r"t\.csv: unknown label column 'cal': did you"
    ):
        read(text, "cal")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv: names no recording"),
        ("file,onset,offset,label\n", r"t\.csv: names no recording"),
        (
            "file,start_ms,end_ms,label\na.wav,1,2,b\n",
            r"t\.csv: has no column onset, on",
        ),
        ("file,onset,offset,tags\na.wav,1,2,b\n", "known to hold labels"),
        ("file,onset,offset,label\n,1,2,b\n", r"t\.csv, line 2: names no file"),
        ("file,onset,offset,label\na.wav,,,b\n", "line 2: onset is '', not seconds"),
        ("file,onset,offset,label\na.wav,2,1,b\n", "cannot last from 2 to 1 s"),
    ],
)
def test_wrong_tables_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_what_is_written_is_read_again():
    odd = SoundEvent(
        onset=1.0, offset=3.25, label='a, "b"', score=0.75, low_hz=200.0, high_hz=900.0
    )
    text = event_table.write([("x.wav", odd), ("y.wav", SoundEvent(
        onset=0.0, offset=0.0, label="c"
    ))])  # fmt: skip
    assert text.splitlines()[1] == 'x.wav,1.000,3.250,"a, ""b""",0.7500,200,900'
    assert read(text) == [("x.wav", (1, 3.25, 'a, "b"')), ("y.wav", (0, 0, "c"))]
    assert event_table.write([]).count("\n") == 1
