"""Columns are found under the names that programs give them."""

import pytest

from unmute_jax.datasets.annotations.columns import canonical, find_column
from unmute_jax.datasets.tables import Line


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Begin Time (s)", "begin_time"),
        ("start_s", "start"),
        ("Species", "species"),
        ("start_ms", "start_ms"),
    ],
)
def test_units_and_capitals_do_not_matter_but_milliseconds_do(name, expected):
    assert canonical(name) == expected


def test_the_first_column_that_is_filled_in_wins():
    lines = [Line({"Label": "", "Class": x, "Other": "x"}, "") for x in ("", "b")]
    assert find_column(lines, ("label", "class")) == "Class"
    assert find_column(lines, ("label", "species")) == "Label"
    assert find_column(lines, ("species",)) is None
