import dataclasses
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
from unmute_jax.metrics import mean_average_precision
from unmute_jax.report import gains, overview, rates, scores
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.missing import Missing
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


def test_other_scores_have_a_table_of_their_own():
    made = record(metric="frame mAP", more={"clip mAP": 0.61, "event F1": 0.2})
    table = named(scores.section(grid_of([made]), resampler()), "other-scores")
    (row,) = rows(table)
    assert (row["clip mAP"].value, row["event F1"].value) == pytest.approx((61, 20))


def test_predictions_give_an_interval_around_the_score(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    logits = (labels + 0.5 * rng.normal(size=labels.shape)).astype(np.float32)
    test = float(mean_average_precision(logits, labels).mean)
    made = record(probe="mhca", test=test)
    write(tmp_path, [made])
    write_predictions(tmp_path, made, logits, labels)
    grid, draws = make_grid(find_records([tmp_path])), Resampler(tmp_path / "drawn")
    (row, _) = rows(named(scores.section(grid, draws), "scores-urban"))
    shown = re.match(r"\[(.*), (.*)\]; paper", row["EAT"].under)
    columns, line = scores.as_csv(grid, draws).splitlines()
    scored = dict(zip(columns.split(","), line.split(","), strict=True))
    assert shown is not None
    for text, column in zip(shown.groups(), ("low_95", "high_95"), strict=True):
        assert float(text) == pytest.approx(float(scored[column]), abs=0.051)
    assert float(scored["low_95"]) < 100 * test < float(scored["high_95"])
    assert scored["interval_over"] == "clips"
    assert (scored["test_clips"], scored["few_groups"]) == ("40", "no")


def test_clips_are_drawn_and_the_score_is_marked_where_groups_are_few(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    logits = (labels + 0.5 * rng.normal(size=labels.shape)).astype(np.float32)
    for probe, groups in (("linear", 4), ("mhca", 8)):
        made = record(probe=probe, test=0.7)
        write(tmp_path, [made])
        sites = {f"clip {i}": f"site {i % groups}" for i in range(40)}
        write_predictions(tmp_path, made, logits, labels, sites)
    grid, draws = make_grid(find_records([tmp_path])), Resampler(tmp_path / "drawn")
    section = scores.section(grid, draws)
    table = named(section, "scores-urban")
    linear, mhca, _ = rows(table)
    assert (linear["EAT"].text, mhca["EAT"].text) == ("70.00†", "70.00")
    assert any(
        "†: the test split has fewer than 5 groups" in p for p in section.paragraphs
    )
    assert "intervals over clips or groups" in table.note
    lines = scores.as_csv(grid, draws).splitlines()
    found = [
        dict(zip(lines[0].split(","), x.split(","), strict=True)) for x in lines[1:]
    ]
    names = ("interval_over", "few_groups", "test_clips", "test_groups")
    assert [tuple(x[n] for n in names) for x in found] == [
        ("clips", "yes", "40", "4"), ("groups", "no", "40", "8")
    ]  # fmt: skip


def test_trainings_that_never_started_are_marked():
    made = [record(seed=s, never_started=s > 0) for s in range(3)]
    section = scores.section(grid_of(made), resampler())
    (linear, _) = rows(named(section, "scores-urban"))
    assert linear["EAT"].text == "50.00 ± 0.00‡"
    assert linear["EAT"].under.startswith("2 of 3 never started")
    assert any(p.startswith("‡: some trainings never left") for p in section.paragraphs)


def test_ranges_stand_beside_every_table_of_scores():
    ranges = {"learning_rate": (1e-5, 0.3)}
    made = [
        record(dataset=d, probe=p, ranges=ranges)
        for d in ("urban", "desed")
        for p in ("linear", "mhca")
    ]
    grid = grid_of(made)
    (row, *_) = csv_rows(grid)
    assert (row["lowest_rate"], row["highest_rate"]) == ("1e-05", "0.3")
    tables = [
        *overview.section(grid, resampler(), ()).tables,
        *scores.section(grid, resampler()).tables,
        *gains.gains_section(grid, resampler()).tables,
        rates.section(grid).tables[0],
    ]
    names = [t.name for t in tables if t.name != "missing"]
    assert names == [
        "means-map", "scores-desed", "scores-urban", "gains", "rates-per-probe"
    ]  # fmt: skip
    for table in tables:
        assert "Searched: learning rates 1e-05 to 0.3." in table.note


def test_failed_and_missing_cells_are_listed_with_the_reason():
    failed = Missing("urban", "BEATs", "mhca", "failed", "no weights")
    kinds = [("eat", "linear"), ("eat", "mhca"), ("beats", "linear"), ("eat", "ep")]
    grid = grid_of([record(encoder=e, probe=p) for e, p in kinds])
    grid = dataclasses.replace(grid, missing=(failed,))
    section = scores.section(grid, resampler())
    table = {r["probe"].text: r for r in rows(named(section, "scores-urban"))}
    assert (table["mhca"]["BEATs"].text, table["ep"]["BEATs"].text) == ("failed", "–")
    lost = [[f.text for f in r.values()] for r in rows(named(section, "missing"))]
    assert lost == [
        ["urban", "BEATs", "mhca", "failed", "no weights"],
        ["urban", "BEATs", "ep", "not run", "no run here has it"],
    ]
