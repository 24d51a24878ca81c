"""Selection tables of Raven, as the program and spreadsheets write them."""

import pytest

from unmute_jax.datasets.annotations import raven
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError

HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)"


def read(text, label_column=""):
    events, column = raven.read(text, "t.txt", label_column)
    return [(e.file, e.onset, e.offset, e.label) for e in events], column


def test_a_selection_in_two_views_is_one_event():
    text = (
        f"{HEADER}\tAnnotation\r\n"
        "1\tWaveform 1\t1\t1.5\t2.25\t\tgreat tit\r\n"
        "1\tSpectrogram 1\t1\t1.5\t2.25\t200\tgreat tit\r\n"
        "2\tWaveform 1\t1\t0.5\t0.75\t\trobin\r\n"
        "2\tSpectrogram 1\t1\t0.5\t0.75\t300\trobin\r\n"
    )
    assert raven.is_selection_table(text)
    events = [("", 0.5, 0.75, "robin"), ("", 1.5, 2.25, "great tit")]
    assert read(text) == (events, "Annotation")


def test_rows_of_one_view_are_events_of_their_own():
    # Tables that were put together repeat the numbers of selections.
    text = (
        f"{HEADER}\tSpecies\n"
        "1\tSpectrogram 1\t1\t1\t2\t0\trobin\n"
        "1\tSpectrogram 1\t1\t1\t2\t0\trobin\n"
        "1\tSpectrogram 2\t1\t1\t2\t0\twren\n"
    )
    events, _ = read(text)
    assert [label for *_, label in events] == ["robin", "robin", "wren"]


def test_times_in_a_sequence_of_recordings_count_from_the_file_offset():
    text = (
        f"{HEADER}\tBegin File\tFile Offset (s)\tLabel\n"
        "1\tSpectrogram 1\t1\t10\t12.5\t0\ta.wav\t10\trobin\n"
        "2\tSpectrogram 1\t1\t70\t72\t0\tb.wav\t10\twren\n"
    )
    assert read(text)[0] == [("a.wav", 10, 12.5, "robin"), ("b.wav", 10, 12, "wren")]
    without = text.replace("File Offset (s)", "Notes")
    with pytest.raises(InputError, match="export the column 'File Offset"):
        read(without)


@pytest.mark.parametrize(
    ("header", "row", "found"),
    [
        # The column that is filled in wins; a spreadsheet puts quotes around commas.
        ("Annotation\tSpecies", '\t"Parus major, song"', "Parus major, song"),
        ("Common Name\tSpecies Code", 'say "hi"\tgretit1', 'say "hi"'),
        ("Notes\tCALL TYPE", "windy\ttrill", "trill"),
    ],
)
def test_the_label_column_is_found(header, row, found):
    text = f"{HEADER}\t{header}\n1\tSpectrogram 1\t1\t0\t1\t0\t{row}\n"
    ((*_, label),), _ = read(text)
    assert label == found


def test_a_path_may_name_the_recording():
    # As BirdNET writes its selection tables of many recordings.
    text = (
        f"{HEADER}\tCommon Name\tBegin Path\tFile Offset (s)\n"
        "1\tSpectrogram 1\t1\t63\t66\t0\trobin\tC:\\birds\\b.wav\t3\n"
    )
    assert read(text) == ([("C:\\birds\\b.wav", 3, 6, "robin")], "Common Name")


def test_the_label_column_can_be_named():
    text = f"{HEADER}\tSpecies\tNotes\n1\tSpectrogram 1\t1\t0\t1\t0\trobin\tfar\n"
    assert read(text, "Notes")[0] == [("", 0, 1, "far")]
    with pytest.raises(InputError, match=r"t\.txt: unknown label column .Note.: did"):
        read(text, "Note")
    with pytest.raises(InputError, match=r"t\.txt: none of its columns .* hold labels"):
        read(text.replace("Species", "Remarks"))


def test_cells_that_are_missing_at_the_end_of_a_row_are_empty():
    text = f"{HEADER}\tSpecies\n1\tSpectrogram 1\t1\t0\t1\t0\trobin\n2\tS\t1\t3\t4\n"
    assert read(text)[0] == [("", 0, 1, "robin"), ("", 3, 4, "")]


def test_a_decimal_comma_is_understood():
    text = f"{HEADER}\tSpecies\n1\tSpectrogram 1\t1\t0,25\t1,5\t0\trobin\n"
    assert read(text)[0] == [("", 0.25, 1.5, "robin")]


def test_a_table_without_rows_has_no_events():
    assert read(f"{HEADER}\tSpecies\n") == ([], "")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\tS\t1\tsoon\t2\t0\twren", r"line 2: Begin Time \(s\) is 'soon', not secon"),
        ("1\tS\t1\t2\t1\t0\twren", "line 2: an event cannot last from 2 to 1 s"),
        ("1\tS\t1\t-1\t1\t0\twren", "line 2: an event cannot last from -1 to 1 s"),
        ("1\tS\t1\t1\t2\t0\twren\t1", "line 2: has more or fewer fields"),
    ],
)
def test_rows_that_make_no_sense_are_refused(row, message):
    with pytest.raises(InputError, match=message):
        read(f"{HEADER}\tSpecies\n{row}\n")


def test_what_is_written_is_read_again():
    events = [
        SoundEvent(
            onset=0.25,
            offset=3.125,
            label='a "b" c',
            score=0.75,
            low_hz=9.0,
            high_hz=99.0,
        ),
        SoundEvent(onset=4.0, offset=4.0, label="wren\tred"),
    ]
    text = raven.write(events)
    assert text.splitlines()[1].split("\t") == [
        "1", "Spectrogram 1", "1", "0.250000", "3.125000", "9.0", "99.0",
        'a "b" c', "0.7500",
    ]  # fmt: skip
    assert raven.is_selection_table(text)
    expected = [("", 0.25, 3.125, 'a "b" c'), ("", 4, 4, "wren red")]
    assert read(text) == (expected, "Class")
