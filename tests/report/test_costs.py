import pytest

from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import costs


def test_costs_are_means_over_encoders_and_stacks_count_once():
    made = [
        record(encoder=e, seed=s, probe=p, parameters=n, seconds=t)
        for e, p, n, t in [
            ("eat", "linear", 1000, 2.0), ("beats", "linear", 3000, 4.0),
            ("eat", "mhca", 5000, 8.0),
        ]
        for s in (0, 1)
    ]  # fmt: skip
    section = costs.section(grid_of(made))
    linear, mhca = rows(section.tables[0])
    assert (linear["parameters"].text, linear["parameters"].value) == (
        "1,000 to 3,000", 2000
    )  # fmt: skip
    assert linear["kB in float32"].value == 8
    assert linear["seconds"].value == 3
    assert mhca["trials"].value == 7
    assert [p.name for p in section.pictures] == ["costs"]


def test_the_size_of_one_bit_prototypes_follows_from_the_parameters():
    classes, per_class, features = 6, 20, 768
    p = classes * per_class
    parameters = p * features + p * classes + classes
    (cell,) = grid_of([record(probe="protobin", parameters=parameters)]).cells
    assert costs.one_bit_bytes(cell) == p * 96 + 2 * p * classes + 4 * classes
    (other,) = grid_of([record(probe="protobin", parameters=parameters + 1)]).cells
    assert costs.one_bit_bytes(other) is None
    (linear,) = grid_of([record()]).cells
    assert costs.one_bit_bytes(linear) is None
    assert costs.seconds(linear) == pytest.approx(12.5)
