"""Damaged inputs never end in anything but what was there or one clear line."""

import pathlib

import numpy as np
import pytest

from experiments.checks import fuzz
from experiments.checks.fuzz import Trial, table
from experiments.checks.fuzz_cases import Case
from tests.experiments.checks.test_fuzz_worker import behave


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("weights", 12),
        ("audio", 60),
        ("store", 15),
        ("probe", 16),
        ("record", 30),
        ("config", 60),
        ("archive", 30),
    ],
)
def test_damaged_inputs_are_read_or_refused(kind, count, tmp_path):
    outcomes = set()
    for index in range(count):
        case = fuzz.KINDS[kind].make(np.random.default_rng([7, index]))
        folder = tmp_path / str(index)
        case.write(folder)
        try:
            outcome = fuzz.KINDS[kind].check(folder, case.kind, case.may_differ)
        except Exception as error:
            error.add_note(f"number {index}: {case.kind}, {case.mutation}")
            raise
        outcomes.add(outcome)
    assert "refused" in outcomes


def inputs(kind):
    """A kind of inputs with which always the same happens."""
    files = {"file": b"content", "folder/more": b"x"}
    case = Case(kind=kind, mutation="cut", files=files)
    return fuzz.Kind(make=lambda rng: case, check=behave)


LIMITS = {"seed": 3, "seconds": 5, "megabytes": 300}


def test_inputs_that_failed_are_kept_and_can_be_tried_again(tmp_path):
    [trial] = fuzz.try_inputs(inputs("raises"), [5], output=tmp_path / "out", **LIMITS)
    assert trial.outcome == "failed"
    assert trial.index == 5
    assert (tmp_path / "out" / "3_5" / "file").read_bytes() == b"content"
    assert (tmp_path / "out" / "3_5" / "folder" / "more").read_bytes() == b"x"
    assert "a fault" in (tmp_path / "out" / "3_5.json").read_text()


def test_a_file_that_is_written_elsewhere_is_a_failure():
    first, second = fuzz.try_inputs(inputs("writes"), range(2), **LIMITS)
    assert (first.outcome, second.outcome) == ("failed", "failed")
    assert pathlib.Path(first.reason.split("'")[1]).name == "outside"


def test_the_table_counts_outcomes_by_mutation():
    trials = [
        Trial(index=0, kind="a", mutation="cut", outcome="refused", seconds=1.0),
        Trial(index=1, kind="a", mutation="cut", outcome="failed", seconds=1.0),
        Trial(index=2, kind="a", mutation="erased", outcome="refused", seconds=1.0),
    ]
    assert table(trials).splitlines()[2:] == [
        "| cut | 2 | 1 | 1 |",
        "| erased | 1 | 1 | 0 |",
        "| all | 3 | 2 | 1 |",
    ]
