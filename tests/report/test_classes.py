import csv
import io

import pytest

from tests.report.made_up import CLASSES, grid_of, grid_records, record, rows
from unmute_jax.report import classes


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
