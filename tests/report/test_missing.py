"""Runs that failed or were stopped, as grids and single runs leave them."""

import json

from tests.report import made_up
from unmute_jax.config import Experiment
from unmute_jax.report import missing
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.missing import Missing


def run(folder, records=(), **settings):
    folder.mkdir(parents=True)
    values = Experiment(**settings).to_dict()
    (folder / "config.json").write_text(json.dumps(values))
    made_up.write(folder, records)


def ended(cell, **values):
    (cell / "status.json").write_text(json.dumps(values))


def claim(root, name, **values):
    """What earlier versions left."""
    (root / "claims").mkdir(exist_ok=True)
    (root / "claims" / f"{name}.json").write_text(json.dumps(values))


def test_failed_and_unfinished_cells_of_a_grid_are_found(tmp_path):
    of_urban = {"dataset": "urban", "encoder": "eat"}
    cells = tmp_path / "cells"
    run(cells / "a", [made_up.record()], **of_urban, probes="linear")
    ended(cells / "a", state="done")
    run(cells / "b", **of_urban, probes="protobin")
    claim(tmp_path, "b", state="open")
    ended(cells / "b", state="failed", message="no memory")
    run(cells / "c", **of_urban, weights="untrained", probes="mhca")
    claim(tmp_path, "c", state="running", host="there")
    (cells / "d").mkdir()
    (cells / "d" / "config.json").write_text("{")
    assert missing.find_missing([tmp_path]) == [
        Missing("urban", "EAT", "protobin", "failed", "no memory"),
        Missing(
            "urban", "EAT (untrained)", "mhca", "unfinished",
            "running on there, or stopped there",
        ),
    ]  # fmt: skip


def test_probes_of_a_stopped_run_are_found_by_the_title_that_they_would_have(tmp_path):
    options = Experiment().probe_options
    given = {**vars(options), "prototypes_per_class": 5, "num_heads": 8, "depth": 3}
    chosen = type(options)(**given)
    run(
        tmp_path / "run", [made_up.record()], dataset="urban", encoder="eat",
        probes="linear,protobin,mhca", probe_options=chosen,
    )  # fmt: skip
    found = missing.find_missing([tmp_path])
    assert [m.probe for m in found] == ["protobin J=5", "mhca num_heads=8"]
    assert {m.reason for m in found} == {"no record yet"}


def test_what_failed_in_one_run_and_was_done_in_another_is_not_missing(tmp_path):
    run(tmp_path / "cells" / "a", dataset="urban", encoder="eat", probes="linear")
    claim(tmp_path, "a", state="failed", message="no memory")
    made_up.write(tmp_path / "again", [made_up.record()])
    found = missing.find_missing([tmp_path])
    assert len(found) == 1
    grid = make_grid(find_records([tmp_path]), found)
    assert grid.missing == ()


def test_a_cell_that_failed_after_some_folds_is_listed_beside_its_score(tmp_path):
    one = [made_up.record(protocol="fold 1")]
    run(tmp_path / "cells" / "a", one, dataset="urban", encoder="eat", probes="linear")
    claim(tmp_path, "a", state="failed", message="no memory")
    found = missing.find_missing([tmp_path])
    assert [(m.state, m.is_partial) for m in found] == [("failed", True)]
    assert make_grid(find_records([tmp_path]), found).missing == tuple(found)


def test_cells_that_no_run_has_are_listed_by_encoder():
    holes = [("urban", "EAT", "ep"), ("urban", "EAT", "mhca"), ("desed", "EAT", "ep")]
    table = missing.table((), holes)
    assert table is not None
    assert [[f.text for f in row][:4] for row in table.fields()] == [
        ["urban", "EAT", "ep, mhca", "not run"],
        ["desed", "EAT", "ep", "not run"],
    ]
    assert missing.table((), ()) is None
