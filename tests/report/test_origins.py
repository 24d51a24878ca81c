import dataclasses

from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import origins
from unmute_jax.report.missing import Missing


def tables(*records):
    return {t.name: rows(t) for t in origins.section(grid_of(records)).tables}


def test_settings_that_differ_are_counted():
    other = record(probe="mhca", epochs=90)
    found = tables(record(), record(encoder="beats"), other)
    settings = {r["setting"].text: r["value"].text for r in found["settings"]}
    assert settings["epochs"] == "30 (2 cells); 90 (1 cell)"
    assert settings["loss.name"] == "asymmetric"
    assert "dataset" not in settings


def test_encoders_are_listed_with_their_weights():
    found = tables(record(), record(encoder="beats", weights="untrained"))
    published = {
        r["encoder"].text: r["published weights"].text for r in found["encoders"]
    }
    assert published == {"EAT": "yes", "BEATs (untrained)": "no"}
    (row,) = found["datasets"]
    assert row["clips"].text == "test 2,000, train 6,000, validation 2,000"


def test_notes_say_which_cells_they_apply_to():
    found = tables(record(notes=("Rounded.",)), record(encoder="beats"))
    assert [(r["note"].text, r["applies to"].text) for r in found["notes"]] == [
        ("Rounded.", "urban: EAT")
    ]


def test_the_summary_counts_everything():
    grid = grid_of([record(seed=s) for s in (0, 1)])
    assert origins.summary(grid) == (
        "2 records, 1 cell, 1 data set, 1 encoder, 1 probe, 2 seeds"
    )
    lost = [
        Missing("urban", "EAT", probe, state, "why")
        for probe, state in (
            ("ep", "failed"),
            ("mhca", "failed"),
            ("cae", "unfinished"),
        )
    ]
    grid = dataclasses.replace(grid, missing=tuple(lost))
    assert origins.summary(grid).endswith("; 2 cells failed; 1 cell unfinished")
