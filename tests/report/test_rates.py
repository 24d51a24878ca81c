import csv
import io

import pytest

from tests.report.made_up import grid_of, grid_records, record, rows
from unmute_jax.report import rates

SEARCH = tuple(
    {"learning_rate": rate, "weight_decay": 1e-4, "validation": score}
    for rate, score in ((0.001, 0.5), (0.003, 0.55), (0.01, 0.6), (0.03, None))
)


def test_the_cost_of_a_wrong_rate_per_cell_and_per_probe():
    grid = grid_of([record(search=SEARCH), record(search=SEARCH, encoder="beats")])
    section = rates.section(grid)
    per_probe, per_cell = section.tables
    (row,) = rows(per_probe)
    assert (row["cells"].value, row["wrong by ×3"].value) == pytest.approx((2, 32.5))
    assert row["diverged, %"].value == 25
    assert [r["best rate"].value for r in rows(per_cell)] == pytest.approx([0.01, 0.01])
    assert [p.name for p in section.pictures] == ["rates_urban"]


def test_searches_of_folds_are_averaged():
    folds = [record(protocol=f"fold {k}", search=SEARCH[k:]) for k in (0, 1)]
    (cell,) = grid_of(folds).cells
    found = rates.of_cell(cell)
    assert found is not None
    assert found.trials == 7
    assert found.loss[10] == pytest.approx(10.0)


def test_every_trial_is_a_line_of_the_csv():
    grid = grid_of(grid_records(("urban",), ("eat",), ("linear",), 2, trials=5))
    lines = list(csv.DictReader(io.StringIO(rates.as_csv(grid))))
    # Seeds share a search.
    assert len(lines) == 5
    assert [x["chosen"] for x in lines].count("yes") == 1
    assert {x["status"] for x in lines} <= {"finished", "stopped", "diverged"}


def test_a_single_rate_has_no_sensitivity():
    section = rates.section(grid_of([record(search=SEARCH[:1])]))
    assert not section.tables
