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
from unmute_jax.report import gains
from unmute_jax.report.gather import find_records, make_grid
from unmute_jax.report.resampling import Resampler


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
    assert (row["mhca"].text, row["mhca"].under) == ("+15.00", "")
    note = named(section, "gains").note
    assert "Means over desed, urban, which most cells have; spass left out." in note
    assert [p.name for p in section.pictures] == ["gains"]
    alone = gains.gains_section(grid_of(made[-1:]), resampler())
    assert not alone.tables


def test_every_gain_is_over_the_same_data_sets():
    made = [
        record(dataset=d, probe=p, encoder=e, test=t)
        for d, p, e, t in [
            ("urban", "linear", "eat", 0.3), ("urban", "mhca", "eat", 0.5),
            ("desed", "linear", "eat", 0.2), ("desed", "mhca", "eat", 0.3),
            ("urban", "linear", "beats", 0.3), ("urban", "mhca", "beats", 0.4),
            ("urban", "simpool", "eat", 0.6), ("urban", "simpool", "beats", 0.7),
            ("desed", "simpool", "eat", 0.9),
        ]
    ]  # fmt: skip
    table = named(gains.gains_section(grid_of(made), resampler()), "gains")
    assert "Means over urban, which most cells have; desed left out." in table.note
    found = {
        r["encoder"].text: (r["mhca"].text, r["simpool"].text) for r in rows(table)
    }
    assert found == {"EAT": ("+20.00", "+30.00"), "BEATs": ("+10.00", "+40.00")}


def test_a_gain_that_lacks_a_data_set_is_a_dash():
    kinds = [
        (d, p, e)
        for d in ("urban", "desed")
        for p in ("linear", "mhca", "simpool")
        for e in ("eat", "beats")
        if (d, p, e) != ("desed", "simpool", "beats")
    ]
    made = [record(dataset=d, probe=p, encoder=e) for d, p, e in kinds]
    table = named(gains.gains_section(grid_of(made), resampler()), "gains")
    assert table.note.startswith("Means over desed, urban. A dash: not run on all")
    found = {
        r["encoder"].text: (r["mhca"].text, r["simpool"].text) for r in rows(table)
    }
    assert found == {"EAT": ("+0.00", "+0.00"), "BEATs": ("+0.00", "–")}


def test_encoders_with_equal_tokens_have_equal_gains(tmp_path):
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    for probe, noise in (("linear", 1.0), ("mhca", 0.5)):
        for seed in range(3):
            logits = labels + noise * rng.normal(size=labels.shape)
            test = float(mean_average_precision(logits, labels).mean)
            for encoder in ("eat", "beats"):
                made = record(encoder=encoder, probe=probe, seed=seed, test=test)
                write(tmp_path, [made])
                write_predictions(tmp_path, made, logits, labels)
    grid = make_grid(find_records([tmp_path]))
    sampler = Resampler(tmp_path / "drawn")
    eat, beats = rows(named(gains.gains_section(grid, sampler), "gains"))
    assert eat["mhca"].under.startswith("[")
    assert eat["mhca"] == beats["mhca"]


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
