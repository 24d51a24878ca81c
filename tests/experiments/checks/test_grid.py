"""The check of grids would tell; that it runs is tested with grids on Ray."""

from experiments.checks import grid


def test_what_differs_is_named_but_not_times():
    wanted = {"a": {"value": 1}, "b": {"value": 2}, "c": {"value": 3}}
    found = {"a": {"value": 1}, "b": {"value": 0}, "d": {"value": 4}}
    assert grid.differing(wanted, found) == ["b", "c", "d"]
    values = {"value": 1, "seconds": 2, "trials": [{"devices": "x", "rate": 3}]}
    assert grid._outcome(values) == {"value": 1, "trials": [{"rate": 3}]}
