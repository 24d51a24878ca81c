"""Names of annotators become classes."""

import pytest

from unmute_jax.datasets.annotations.events import SoundEvent
from unmute_jax.datasets.annotations.species import map_labels, read_species_list
from unmute_jax.errors import InputError


def events(*labels):
    return {
        "a.wav": [
            SoundEvent(onset=0.0, offset=1.0, label=label, where=f"t.txt, line {k}")
            for k, label in enumerate(labels, start=2)
        ]
    }


def labels(mapped):
    return [event.label for event in mapped["a.wav"]]


def test_a_list_maps_names_and_may_leave_some_out(tmp_path):
    path = tmp_path / "species.csv"
    path.write_text("name,class\nEURO,robin\nrobin,robin\nMo\u0308we,gull\nwind,\n")
    class_of = read_species_list(str(path))
    mapped, notes = map_labels(
        events("EURO", "M\u00f6we ", "wind", "robin", "wind"), class_of, "fail"
    )
    assert labels(mapped) == ["robin", "gull", "robin"]
    assert notes == ["events that are left out, by label: wind (2)"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_list_may_have_other_delimiters(delimiter, tmp_path):
    path = tmp_path / "species.csv"
    path.write_text(f"name{delimiter}class\nEURO{delimiter}robin, red\n")
    assert read_species_list(str(path)) == {"EURO": "robin, red"}
    path.write_text(f"name{delimiter}species\nEURO{delimiter}robin\n")
    with pytest.raises(InputError, match="has no column class, only name, species"):
        read_species_list(str(path))


def test_names_that_are_not_listed_are_refused_or_counted():
    found = events("EURO", "x", "", "y", "x")
    with pytest.raises(
        InputError, match=r"line 3: the label 'x' is not in the species"
    ):
        map_labels(found, {"EURO": "robin"}, "fail")
    mapped, notes = map_labels(found, {"EURO": "robin"}, "skip")
    assert labels(mapped) == ["robin"]
    assert notes == ["events that are left out, by label: x (2), (no label) (1), y (1)"]


def test_without_a_list_labels_are_classes_but_none_may_be_empty():
    assert labels(map_labels(events("wren "), None, "fail")[0]) == ["wren"]
    with pytest.raises(InputError, match=r"line 3: the event has no label; .*skip"):
        map_labels(events("wren", " "), None, "fail")
    assert labels(map_labels(events("wren", " "), None, "skip")[0]) == ["wren"]


def test_a_name_with_two_classes_is_refused(tmp_path):
    path = tmp_path / "species.csv"
    path.write_text("name,class\nEURO,robin\nEURO,wren\n")
    with pytest.raises(
        InputError, match="line 3: 'EURO' has the class 'wren' here and"
    ):
        read_species_list(str(path))
