import csv
import io

from unmute_jax.inference.recordings import selections
from unmute_jax.inference.recordings.events import Event


def an_event(**changes):
    facts = {"start": 1.0, "end": 3.25, "name": "great tit", "score": 0.75}
    return Event(**{**facts, "low_hz": 200.0, "high_hz": 900.0, **changes})


def test_the_table_has_one_row_per_event():
    odd = an_event(name='a, "b"')
    rows = list(csv.DictReader(io.StringIO(selections.csv_table([("x.wav", odd)]))))
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
    assert selections.csv_table([]).count("\n") == 1


def test_a_label_track_is_as_audacity_writes_it():
    assert selections.audacity_labels([an_event()]) == (
        "1.000000\t3.250000\tgreat tit 0.75\n\\\t200.000000\t900.000000\n"
    )
    assert selections.audacity_labels([an_event(name="a\tb")]).count("\t") == 4


def test_a_selection_table_is_as_raven_writes_it():
    lines = selections.raven_table([an_event(), an_event(start=2.0)]).splitlines()
    assert lines[0].split("\t") == [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)",
        "Low Freq (Hz)", "High Freq (Hz)", "Class", "Score",
    ]  # fmt: skip
    assert lines[1].split("\t") == [
        "1", "Spectrogram 1", "1", "1.000000", "3.250000", "200.0", "900.0",
        "great tit", "0.7500",
    ]  # fmt: skip
    assert lines[2].startswith("2\t")
