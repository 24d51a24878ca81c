import re

import numpy as np
import pytest

from tests.report.made_up import (
    grid_of,
    grid_records,
    named,
    record,
    resampler,
    rows,
    write,
    write_predictions,
)
from unmute_jax.report import scores
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.resampling import Resampler


def csv_rows(grid):
    lines = scores.as_csv(grid, resampler()).splitlines()
    split = [line.split(",") for line in lines]
    return [dict(zip(split[0], line, strict=True)) for line in split[1:]]


def test_differences_are_those_to_the_paper():
    grid = grid_of(
        grid_records(("as20k", "urban"), ("eat", "sslam"), ("protobin", "stats"), 2)
    )
    known = {(r["dataset"], r["encoder"], r["probe"]): r for r in csv_rows(grid)}
    row = known["urban", "SSLAM", "protobin"]
    assert (row["paper"], row["paper_table"], row["paper_mark"]) == ("89.05", "T2", "D")
    difference = float(row["test_mean"]) - 89.05
    assert float(row["difference"]) == pytest.approx(difference, abs=1e-3)
    # On as20k the paper has ten prototypes per class, and the record has twenty.
    assert known["as20k", "EAT", "protobin J=20"]["paper"] == ""
    assert known["urban", "EAT", "stats"]["paper"] == ""


def test_holes_are_dashes_and_untrained_encoders_have_no_paper():
    grid = grid_of(
        [
            record(probe="linear", test=0.3),
            record(probe="protobin", test=0.5),
            record(probe="protobin", weights="untrained", test=0.4),
        ]
    )
    table = named(scores.section(grid, resampler()), "scores-urban")
    linear, protobin, stats = rows(table)
    assert (linear["EAT"].text, linear["EAT"].under) == (
        "30.00", "paper 77.76, −47.76"
    )  # fmt: skip
    assert linear["EAT (untrained)"].text == "–"
    assert [protobin["EAT"].strong, linear["EAT"].strong] == [True, False]
    # The baseline is listed in every table, whether it was run or not.
    assert [f.text for f in stats.values()] == ["stats", "–", "–"]
    assert "no such row in the paper: EAT (untrained); stats was not run" in table.note
    untrained = next(r for r in csv_rows(grid) if "untrained" in r["encoder"])
    assert (untrained["published_weights"], untrained["paper"]) == ("no", "")


def test_means_are_over_data_sets_that_have_all():
    made = [
        record(dataset=d, probe=p, test=t)
        for d, p, t in [
            ("urban", "linear", 0.3), ("desed", "linear", 0.5), ("urban", "mhca", 0.9),
            ("esc50", "linear", 0.1),
        ]
    ]  # fmt: skip
    table = named(scores.section(grid_of(made), resampler()), "means-map")
    assert [(r["probe"].text, r["EAT"].text) for r in rows(table)] == [
        ("linear", "40.00"), ("stats", "–")
    ]  # fmt: skip


def test_other_scores_have_a_table_of_their_own():
    made = record(metric="frame mAP", more={"clip mAP": 0.61, "event F1": 0.2})
    table = named(scores.section(grid_of([made]), resampler()), "other-scores")
    (row,) = rows(table)
    assert (row["clip mAP"].value, row["event F1"].value) == pytest.approx((61, 20))


def test_predictions_give_an_interval_around_the_score(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    made = record(probe="mhca", test=0.7)
    write(tmp_path, [made])
    logits = (labels + 0.5 * rng.normal(size=labels.shape)).astype(np.float32)
    write_predictions(tmp_path, made, logits, labels)
    grid, draws = make_grid(find_records([tmp_path])), Resampler(30, tmp_path / "drawn")
    (row, _) = rows(named(scores.section(grid, draws), "scores-urban"))
    shown = re.match(r"\[(.*), (.*)\]; paper", row["EAT"].under)
    columns, line = scores.as_csv(grid, draws).splitlines()
    scored = dict(zip(columns.split(","), line.split(","), strict=True))
    assert shown is not None
    for text, column in zip(shown.groups(), ("low_95", "high_95"), strict=True):
        assert float(text) == pytest.approx(float(scored[column]), abs=0.051)
    assert float(scored["low_95"]) < 70 < float(scored["high_95"])
    assert scored["interval_over"] == "clips"
