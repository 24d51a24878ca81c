import pytest

from tests.report.made_up import grid_of, grid_records, named, record, resampler, rows
from unmute_jax.report import gains


def test_gains_are_means_over_data_sets_with_a_linear_probe():
    made = [
        record(dataset=d, probe=p, test=t)
        for d, p, t in [
            ("urban", "linear", 0.3), ("urban", "mhca", 0.5), ("desed", "linear", 0.2),
            ("desed", "mhca", 0.3), ("spass", "mhca", 0.9),
        ]
    ]  # fmt: skip
    section = gains.gains_section(grid_of(made), resampler())
    (row,) = rows(named(section, "gains"))
    assert (row["mhca"].text, row["mhca"].under) == ("+15.00", "2 sets")
    assert [p.name for p in section.pictures] == ["gains"]
    alone = gains.gains_section(grid_of(made[-1:]), resampler())
    assert not alone.tables


def test_the_gap_is_known_where_fine_tuning_is():
    grid = grid_of(
        grid_records(("as20k", "urban", "esc50"), ("dasheng", "beats", "eat"),
                     ("linear", "mhca"), 1)
    )  # fmt: skip
    section = gains.gap_section(grid)
    pairs = {
        (r["data set"].text, r["encoder"].text) for r in rows(named(section, "gap"))
    }
    assert pairs == {
        ("as20k", "BEATs"), ("as20k", "EAT"), ("esc50", "BEATs"), ("esc50", "EAT"),
    }  # fmt: skip
    nothing = gains.gap_section(grid_of([record()]))
    assert not nothing.tables
    assert "No record here is of one of these" in nothing.paragraphs[-1]


def test_scores_by_the_number_of_prototypes():
    made = [
        record(
            probe="protobin", test=score, experiment=str(j),
            probe_options={"prototypes_per_class": j} if j != 20 else {},
        )
        for j, score in ((20, 0.5), (1, 0.3), (5, 0.45))
    ]  # fmt: skip
    section = gains.prototypes_section(grid_of(made))
    found = rows(named(section, "prototypes"))
    assert [r["J"].value for r in found] == [1, 5, 20]
    rises = [r["over the smallest J"].value for r in found]
    assert rises == pytest.approx([0, 15, 20])
    assert [p.name for p in section.pictures] == ["prototypes"]
    assert not gains.prototypes_section(grid_of(made[:1])).tables
