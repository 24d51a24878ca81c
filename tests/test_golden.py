"""The golden files: which of their arrays the tests read, and how near they come."""

import numpy as np
import pytest

from tests import golden


def test_an_array_counts_as_read_once_it_is_looked_up(monkeypatch):
    monkeypatch.setattr(golden, "looked_up", known := set())
    arrays = golden.read(golden.ENCODERS / "eat_tiny.npz")
    first, second, *_ = arrays
    assert {first in arrays, arrays.get("no such array")} == {True, None}
    assert not known
    assert np.shape(arrays[first]) == np.shape(arrays.get(first))
    assert known == {("encoders/eat_tiny.npz", first)}
    # A copy reads all of them.
    assert {**arrays}.keys() == {name for _, name in known}
    known -= {("encoders/eat_tiny.npz", second)}
    left = golden.unread(known)
    assert f"encoders/eat_tiny.npz: {first}" not in left
    assert f"encoders/eat_tiny.npz: {second}" in left
    assert any(line.startswith("encoders_more/") for line in left)


def test_the_largest_error_is_a_share_of_what_its_tolerance_allows(monkeypatch):
    monkeypatch.setattr(golden, "compared", rows := [])
    want = np.array([1.0, 100.0])
    golden.assert_close(want + np.array([0.5, 2.0]), want, "x", atol=1.0, rtol=0.03)
    assert rows == [("x", 2.0, 1.0, 0.03, pytest.approx(0.5))]
    golden.assert_close(want, want, "equal", atol=0.0)
    assert rows[1][-1] == 0.0
