from tests.report.made_up import grid_of, record, rows
from unmute_jax.report import win_matrix


def two_seeds(**changes):
    test = changes.pop("test")
    return [record(seed=s, test=test + 0.01 * s, **changes) for s in (0, 1)]


def test_shares_are_of_the_configurations_that_are_decided():
    grid = grid_of(
        [
            *two_seeds(probe="linear", encoder="eat", test=0.3),
            *two_seeds(probe="mhca", encoder="eat", test=0.5),
            # Less than a standard deviation apart.
            *two_seeds(probe="linear", encoder="beats", test=0.300),
            *two_seeds(probe="mhca", encoder="beats", test=0.305),
            # Supervised encoders do not count.
            *two_seeds(probe="linear", encoder="eat+", test=0.9),
            *two_seeds(probe="mhca", encoder="eat+", test=0.5),
        ]
    )
    (table,) = win_matrix.section(grid).tables
    linear, mhca = rows(table)
    assert (mhca["linear"].text, mhca["linear"].under) == ("100 %", "1 of 1")
    assert linear["mhca"].value == 0
    assert linear["linear"].text == "–"


def test_single_seeds_decide_nothing():
    grid = grid_of([record(probe="linear", test=0.1), record(probe="mhca", test=0.9)])
    section = win_matrix.section(grid)
    assert not section.tables
    assert section.paragraphs[-1] == "No configuration here decides between probes."
