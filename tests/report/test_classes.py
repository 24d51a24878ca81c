import csv
import dataclasses
import io

import numpy as np
import pytest

from tests.report import made_up
from tests.report.made_up import CLASSES, grid_of, grid_records, record, rows
from unmute_jax.errors import InputError
from unmute_jax.report import classes
from unmute_jax.report.gather import find_records, make_grid


def of(probe, **per_class):
    values = list(per_class.values())
    test = sum(v for v in values if v is not None) / len(values)
    return record(probe=probe, test=test, per_class=per_class)


def test_classes_are_compared_between_linear_and_the_best_probe():
    grid = grid_of(
        [
            of("linear", dog=0.2, cat=0.5, rain=None),
            of("mhca", dog=0.6, cat=0.4, rain=None),
            of("simpool", dog=0.3, cat=0.3, rain=None),
        ]
    )
    section = classes.section(grid)
    (table,) = section.tables
    assert table.title == "urban: linear and mhca"
    gains = {r["class"].text: r["gain"].value for r in rows(table)}
    assert gains == pytest.approx({"dog": 40, "cat": -10})
    assert [p.name for p in section.pictures] == ["classes"]


def test_positives_and_chance_stand_beside_each_class():
    counts = {"dog": 4, "cat": 30, "rain": 0}
    levels = {"dog": 0.1, "cat": 0.75, "rain": 0.0}
    made = [
        dataclasses.replace(
            of(probe, dog=dog, cat=0.5, rain=None),
            protocol=f"fold {fold}",
            positives=counts,
            chance=levels,
        )
        for probe, dog in (("linear", 0.2), ("mhca", 0.6))
        for fold in (1, 2)
    ]
    one_fold = grid_of([r for r in made if r.protocol == "fold 1"])
    (table,) = classes.section(one_fold).tables
    found = {
        r["class"].text: (r["positives"].text, r["chance"].text) for r in rows(table)
    }
    assert found == {"dog *": ("4", "10.0"), "cat": ("30", "75.0")}
    assert "*: fewer than 5 positive test clips" in table.note
    # Two folds together have eight dogs.
    lines = csv.DictReader(io.StringIO(classes.as_csv(grid_of(made))))
    linear = [x for x in lines if x["probe"] == "linear"]
    assert [(x["test_positives"], x["chance"]) for x in linear] == [
        ("8", "10.0000"), ("60", "75.0000"), ("0", "")
    ]  # fmt: skip


def test_older_records_take_the_positives_of_their_predictions(tmp_path):
    labels = np.zeros((20, len(CLASSES)), np.uint8)
    labels[:3, 0] = labels[5:, 1] = 1
    made_up.write(tmp_path, [record()])
    made_up.write_predictions(tmp_path, record(), labels.astype(np.float32), labels)
    (cell,) = make_grid(find_records([tmp_path])).cells
    counts, levels = classes.positives_and_chance(cell)
    assert list(counts.values())[:3] == [3, 15, 0]
    assert list(levels.values())[:2] == pytest.approx([3 / 20, 15 / 20])


def test_predictions_of_other_classes_are_named(tmp_path):
    labels = np.ones((20, len(CLASSES) - 1), np.uint8)
    made_up.write(tmp_path, [record()])
    made_up.write_predictions(tmp_path, record(), labels.astype(np.float32), labels)
    (cell,) = make_grid(find_records([tmp_path])).cells
    with pytest.raises(InputError, match=r"\.npz: has \d+ classes, and its record"):
        classes.positives_and_chance(cell)


def test_long_tables_show_both_ends():
    grid = grid_of(
        grid_records(("urban",), ("eat",), ("linear", "mhca"), 1, classes=40)
    )
    (table,) = classes.section(grid).tables
    assert len(table.rows) == classes.MOST_ROWS
    assert "15 classes that gain most and least, of 40" in table.note
    gains = [r["gain"].value for r in rows(table)]
    assert gains == sorted(gains, reverse=True)


def test_every_class_of_every_cell_is_a_line_of_the_csv():
    grid = grid_of(grid_records(("urban",), ("eat",), ("linear", "mhca"), 2))
    lines = list(csv.DictReader(io.StringIO(classes.as_csv(grid))))
    assert len(lines) == 2 * len(CLASSES)
    assert {x["seeds"] for x in lines} == {"2"}
    assert all(0 <= float(x["average_precision"]) <= 100 for x in lines)


def test_one_probe_has_nothing_to_compare():
    section = classes.section(grid_of([record()]))
    assert not section.tables
    assert "per_class.csv" in section.paragraphs[0]
