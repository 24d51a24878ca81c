import json
import math

from tests.report.made_up import grid_of, read_csv, record
from unmute_jax.report import records


def lines_of(made, path):
    path.write_text(records.as_csv(grid_of(made)), encoding="utf-8")
    return read_csv(path)


def test_each_record_is_a_row_with_its_own_score(tmp_path):
    made = [
        record(seed=seed, protocol=f"fold {fold}", test=0.1 + seed / 3 + fold / 7)
        for seed in (0, 1)
        for fold in (1, 2, 3)
    ]
    lines = lines_of(made, tmp_path / "records.csv")
    found = {(int(x["seed"]), x["protocol"]): float(x["test"]) for x in lines}
    # Nothing is rounded.
    assert found == {(r.seed, r.protocol): r.test for r in made}
    assert {x["record"] for x in lines} == {r.file_name() for r in made}


def test_a_row_says_what_was_trained_on_what(tmp_path):
    options = {"prototypes_per_class": 5}
    made = record(
        probe="protobin", probe_options=options, notes=("One note.", "Another, too."),
        test=math.nan, steps=600,
    )  # fmt: skip
    (line,) = lines_of([made], tmp_path / "records.csv")
    expected = {
        "dataset": "urban", "source": "official urban", "encoder": "EAT",
        "published_weights": "yes", "probe": "protobin", "protocol": "official splits",
        "metric": "mAP", "test": "", "learning_rate": "0.01", "steps": "600",
        "test_clips": "2000", "devices": "1 x cpu", "notes": "One note. Another, too.",
    }  # fmt: skip
    assert {k: line[k] for k in expected} == expected
    assert json.loads(line["probe_options"]) == options
    assert json.loads(line["versions"]) == {"jax": "0.10.0"}


def test_other_scores_have_columns_of_their_own(tmp_path):
    made = [
        record(probe="linear", more={"event F1": 0.25}),
        record(probe="mhca", more={"event F1": math.nan}),
        record(probe="proto"),
    ]
    lines = lines_of(made, tmp_path / "records.csv")
    found = {x["probe"]: x["event F1"] for x in lines}
    assert found == {"linear": "0.25", "mhca": "", "proto": ""}
