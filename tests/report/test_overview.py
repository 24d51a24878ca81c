import csv
import io

import numpy as np
import pytest

from tests.report.made_up import (
    grid_of,
    named,
    record,
    resampler,
    rows,
    write,
    write_predictions,
)
from unmute_jax.report import overview, rankings
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.tables import as_csv


def section_of(grid):
    ranked = rankings.over_common(grid, rankings.rank(grid, resampler()))
    return overview.section(grid, resampler(), ranked)


def records(*scores):
    """Records of a linear probe from (data set, encoder, test score)."""
    return [record(dataset=d, encoder=e, test=t) for d, e, t in scores]


def test_encoders_are_rows_and_data_sets_columns_as_papers_spell_them():
    made = records(
        ("urban", "eat", 0.3), ("hsn/64shot", "eat", 0.5), ("esc50", "eat", 0.9),
        ("urban", "beats", 0.4), ("hsn/64shot", "beats", 0.7), ("esc50", "beats", 0.8),
    )  # fmt: skip
    table = named(section_of(grid_of(made)), "encoders-linear")
    shown = [[f"{f.text}{'*' * f.strong}" for f in row] for row in table.fields()]
    assert table.columns == (
        "encoder", "URBAN", "HSN (64shot)", "ESC-50", "mean mAP", "mean rank"
    )  # fmt: skip
    assert shown == [
        ["BEATs", "40.00*", "70.00*", "80.00", "55.00*", "1.33*"],
        ["EAT", "30.00", "50.00", "90.00*", "40.00", "1.67"],
    ]
    assert table.note.startswith(
        "mAP on URBAN, HSN (64shot); accuracy on ESC-50. Mean mAP over URBAN, HSN "
        "(64shot). Mean rank over URBAN, HSN (64shot), ESC-50."
    )


def test_every_mean_is_over_the_same_data_sets():
    made = records(
        ("urban", "eat", 0.3), ("desed", "eat", 0.5), ("spass", "eat", 0.9),
        ("urban", "beats", 0.4), ("desed", "beats", 0.6),
        ("urban", "sslam", 0.4), ("spass", "sslam", 0.8),
    )  # fmt: skip
    table = named(section_of(grid_of(made)), "encoders-linear")
    means = {r["encoder"].text: r["mean mAP"].text for r in rows(table)}
    assert means == {"EAT": "40.00", "BEATs": "50.00", "SSLAM": "–"}
    assert "Mean mAP over DESED, URBAN." in table.note
    assert [r["SPASS"].text for r in rows(table)] == ["–", "90.00", "80.00"]


def test_the_means_of_a_probe_that_lacks_a_data_set_are_dashes():
    made = [
        record(dataset=d, probe=p, test=t)
        for d, p, t in [
            ("urban", "linear", 0.3), ("desed", "linear", 0.5), ("urban", "mhca", 0.9),
            ("esc50", "linear", 0.1),
        ]
    ]  # fmt: skip
    table = named(section_of(grid_of(made)), "means-map")
    assert [(r["probe"].text, r["EAT"].text) for r in rows(table)] == [
        ("linear", "40.00"), ("stats", "–")
    ]  # fmt: skip


def test_the_csv_has_spreads_and_intervals_rounded_as_shown(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 6)) < 0.4).astype(np.uint8)
    for encoder in ("eat", "beats"):
        for seed in (0, 1):
            made = record(encoder=encoder, seed=seed, test=0.51234 + 0.01 * seed)
            logits = labels + rng.normal(size=labels.shape)
            write(tmp_path, [made])
            write_predictions(tmp_path, made, logits, labels)
    grid = make_grid(find_records([tmp_path]))
    # Resampled scores are cached in a folder below this one.
    monkeypatch.chdir(tmp_path)
    table = named(section_of(grid), "encoders-linear")
    (_, row) = csv.DictReader(io.StringIO(as_csv(table)))
    assert (row["encoder"], row["URBAN"]) == ("EAT", "51.73")
    assert row["URBAN (as shown)"].startswith("51.73 ± 0.71 [")
    assert "±: the standard deviation over 2 seeds." in table.note


def test_one_encoder_on_one_data_set_has_nothing_to_compare():
    section = section_of(grid_of([record()]))
    assert not section.tables
    assert (
        "two encoders, or on two data sets with the same metric"
        in section.paragraphs[-1]
    )


@pytest.mark.parametrize("probe", ["linear", "mhca"])
def test_a_probe_of_one_encoder_has_no_table(probe):
    made = [*records(("urban", "eat", 0.3), ("urban", "beats", 0.4))]
    made.append(record(probe="mhca", test=0.5))
    names = [t.name for t in section_of(grid_of(made)).tables]
    assert (f"encoders-{probe}" in names) == (probe == "linear")
