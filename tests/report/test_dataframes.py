"""Records and comparisons as tables of pandas."""

import sys

import numpy as np
import pytest

from tests.report.made_up import record
from unmute_jax.errors import InputError
from unmute_jax.report.comparisons import Comparison
from unmute_jax.report.dataframes import to_dataframe
from unmute_jax.report.intervals import Estimate


def test_a_record_is_a_row_with_unrounded_scores():
    frame = to_dataframe(
        [
            record(probe="linear", test=0.123456789, more={"event F1": 0.5}),
            record(probe="stats", test=float("nan")),
        ]
    )
    assert list(frame["probe"]) == ["linear", "stats"]
    assert frame["test"][0] == 0.123456789
    assert np.isnan(frame["test"][1])
    assert frame["event F1"][0] == 0.5
    assert np.isnan(frame["event F1"][1])
    assert frame.groupby("probe")["test"].mean()["linear"] == 0.123456789


def test_a_comparison_is_a_row_with_its_interval():
    compared = Comparison(
        kind="probes",
        datasets=("esc10",),
        shared="eat",
        first="linear",
        second="stats",
        estimate=Estimate(-5.0, 0.0, ((1.0, 30),)),
        over="clips, seeds",
        is_full=True,
        has_few_groups=False,
        is_equal=False,
        diverged=(False, False),
    )
    (row,) = to_dataframe([compared]).to_dict("records")
    assert row["difference"] == -5
    assert row["low_95"] < -5 < row["high_95"] < 0
    assert (row["first"], row["better"]) == ("linear", "stats")


def test_without_pandas_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install unmute-jax\[pandas\]$"):
        to_dataframe([record()])
