import csv
import io

import numpy as np
import pytest
from rich.console import Console

from tests.inference.recordings.fakes import save
from unmute_jax.config import Frames
from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings import against
from unmute_jax.inference.recordings.partial_results import WindowScores

CLASSES = ("ash", "birch", "cedar")
HEADER = "Begin Time (s)\tEnd Time (s)\tSpecies\n"


@pytest.fixture
def recordings(tmp_path):
    """Three recordings of six seconds, two of them with a selection table."""
    names = ("a.wav", "b.wav", "c.wav")
    found = [save(tmp_path, name, 6.0) for name in names]
    (tmp_path / "a.txt").write_text(f"{HEADER}0\t1\tash\n3.9\t6\tash\n5\t5.1\tOAK\n")
    (tmp_path / "b.txt").write_text(f"{HEADER}1\t2\tB\n")
    (tmp_path / "other.selections.txt").write_text(f"{HEADER}0\t1\tash\n")
    return tmp_path, found


def reference_of(recordings, classes=CLASSES, **options):
    place, found = recordings
    return against.read_reference(place, found, classes, 2.0, options)


def windows(*scores):
    return [
        WindowScores(start=2.0 * k, end=2.0 * k + 2, scores=np.float32(row), bands=None)
        for k, row in enumerate(scores)
    ]


def test_what_is_not_compared_is_told(recordings):
    reference = reference_of(recordings)
    assert reference.notes == (
        "not compared, as they have no annotations: c.wav",
        "annotations of other recordings: 1",
        "annotated classes that the probe does not know: B, OAK",
        "classes of the probe that are never annotated: birch, cedar",
    )
    assert {k: len(v) for k, v in reference.events.items()} == {"a.wav": 2, "b.wav": 0}


def test_labels_are_mapped_and_read_from_the_column_that_is_named(recordings):
    place, _ = recordings
    (place / "list.csv").write_text("name,class\nash,ash\nB,birch\nOAK,\n")
    reference = reference_of(recordings, species_list=str(place / "list.csv"))
    assert [event.label for event in reference.events["b.wav"]] == ["birch"]
    assert "events that are left out, by label: OAK (1)" in reference.notes
    with pytest.raises(InputError, match="unknown label column 'Bird'"):
        reference_of(recordings, label_column="Bird")


def test_wrong_annotations_stop_before_anything_is_detected(recordings):
    place, found = recordings
    (place / "a.txt").write_text(f"{HEADER}1500\t1700\tash\n")
    with pytest.raises(InputError, match=r"beyond the end of a\.wav, which lasts 6 s"):
        reference_of(recordings)
    with pytest.raises(InputError, match=r"holds no annotations of c\.wav"):
        against.read_reference(place, found[2:], CLASSES, 2.0, {})


def test_annotations_without_any_class_of_the_probe_are_refused(recordings):
    place, _ = recordings
    message = r"none of its labels \(B, OAK, ash\) is a class of the probe \(Ash, oak\)"
    with pytest.raises(InputError, match=message):
        reference_of(recordings, classes=("Ash", "oak"))
    (place / "list.csv").write_text("name,class\noaks,ash\n")
    with pytest.raises(InputError, match="--species_list maps labels to classes"):
        reference_of(recordings, species_list=str(place / "list.csv"))
    # Recordings of which it is known that they have none of the classes are compared.
    (place / "list.csv").write_text("name,class\nash,\nOAK,\nB,\n")
    reference = reference_of(recordings, species_list=str(place / "list.csv"))
    assert reference.events == {"a.wav": [], "b.wav": []}


def test_windows_and_events_are_counted(recordings):
    reference = reference_of(recordings, ("ash", "B", "cedar"))
    scores = {
        "a.wav": windows([0.9, 0.1, 0.6], [0.7, 0.2, 0.1], [0.4, 0.1, 0.1]),
        "b.wav": windows([0.2, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.1]),
        "c.wav": windows([1, 1, 1], [1, 1, 1], [1, 1, 1]),
    }
    detected = {
        "a.wav": [
            SoundEvent(onset=0.0, offset=4.0, label="ash"),
            SoundEvent(onset=0.0, offset=2.0, label="cedar"),
        ],
        "b.wav": [SoundEvent(onset=2.0, offset=4.0, label="B")],
        "c.wav": [SoundEvent(onset=0.0, offset=6.0, label="ash")],
    }
    half = np.full(3, 0.5, np.float32)
    found = against.compare(reference, half, scores, detected)
    assert found.windows == 6
    # Only 0.1 s of the second ash is in the second window of a.wav: that is no label.
    ash, b, cedar, together = against.rows(found)
    assert [ash[name] for name in against.COLUMNS[3:7]] == [2, 1, 1, 1]
    assert [ash[n] for n in ("precision", "recall", "f1")] == [0.5, 0.5, 0.5]
    assert [b[name] for name in against.COLUMNS[3:7]] == [1, 0, 1, 1]
    assert [cedar[name] for name in against.COLUMNS[3:7]] == [0, 0, 1, 0]
    assert np.isnan(cedar["recall"])
    assert np.isnan(cedar["average_precision"])
    assert [together[name] for name in against.COLUMNS[3:7]] == [3, 1, 3, 2]
    events = [[row[name] for name in against.COLUMNS[11:]] for row in (ash, b, cedar)]
    # annotated, found, detections, right. The first ash and the 0.1 s are overlapped.
    assert events == [[2, 2, 1, 1], [1, 0, 1, 0], [0, 0, 1, 0]]
    assert found.calibration.counts.sum() == 18


def test_onsets_and_offsets_are_compared_for_time_steps(recordings):
    reference = reference_of(recordings, ("ash", "B"))
    scores = {name: windows([0.9, 0.1]) for name in ("a.wav", "b.wav")}
    half = np.full(2, 0.5, np.float32)
    near = SoundEvent(onset=0.1, offset=1.1, label="ash")
    far = SoundEvent(onset=1.5, offset=2.0, label="B")
    detected = {"a.wav": [near], "b.wav": [far]}
    found = against.compare(reference, half, scores, detected, Frames())
    # One of two ashes is right, and B begins too late: the mean of 2/3 and 0.
    assert found.event_f1 == pytest.approx(1 / 3)
    assert against.compare(reference, half, scores, detected).event_f1 is None


def test_unknown_values_are_empty_in_the_csv_and_a_dash_in_the_table(recordings):
    reference = reference_of(recordings, ("ash", "cedar"))
    scores = {"a.wav": windows([0.9, 0.6], [0.1, 0.1], [0.8, 0.1])}
    found = against.compare(
        reference, np.full(2, 0.5, np.float32), scores, {"a.wav": []}
    )
    (ash, cedar, together) = csv.DictReader(io.StringIO(against.as_csv(found)))
    assert (ash["precision"], ash["f1"], ash["threshold"]) == ("1", "1", "0.5")
    assert (cedar["precision"], cedar["recall"], cedar["f1"]) == ("0", "", "0")
    assert (together["class"], together["threshold"]) == ("all classes", "")
    console = Console(width=120, file=io.StringIO())
    console.print(against.as_table(found, "windows"))
    assert "0/2" in console.file.getvalue()
    assert " - " in console.file.getvalue()


def test_the_comparison_is_written(recordings, tmp_path):
    reference = reference_of(recordings)
    scores = {"a.wav": windows([0.95, 0.6, 0.1], [0.1, 0.1, 0.1], [0.8, 0.1, 0.1])}
    half = np.full(3, 0.5, np.float32)
    found = against.compare(reference, half, scores, {"a.wav": []})
    against.write_evaluation(tmp_path / "out", found, "a title")
    assert (tmp_path / "out" / "against.csv").read_text() == against.as_csv(found)
    lines = (tmp_path / "out" / "calibration.csv").read_text().splitlines()
    assert lines[0] == "from,to,scores,mean_score,annotated_share"
    assert lines[2].startswith("0.1,0.2,6,0.1,0")
    assert lines[1] == "0,0.1,0,,"
    assert lines[10] == "0.9,1,1,0.95,1"
    with pytest.raises(InputError, match="none of the annotated recordings"):
        against.compare(reference, half, {}, {})
