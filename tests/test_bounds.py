"""Ranges: what they allow, what they store, and how they read."""

import math
from typing import Annotated, Literal

import pytest

from unmute_jax import bounds
from unmute_jax.bounds import Matching, Within
from unmute_jax.errors import InputError

Count = Annotated[int, Within(1, 10_000)]
Share = Annotated[float, Within(0, 1, below=True)]
Special = Annotated[float, Within(0, 0.5, also=(-1,))]
Whole = Annotated[float, Within(1, 9, whole=True)]
Folds = Annotated[str, Matching(r"groups|\d+", "groups or a number")]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Count, "a whole number from 1 to 10,000"),
        (Share | None, "a number from 0 to below 1, or None"),
        (Special, "a number from 0 to 0.5 or -1"),
        (tuple[Whole, ...], "up to 100 different whole numbers separated by commas, "
         "each from 1 to 9"),
        (Folds, "groups or a number"),
        (str, "text of at most 4,096 characters"),
        (bool, "True or False"),
        (Literal["a"], "a"),
        (Literal["a", "b", "c"] | None, "a, b or c, or None"),
    ],
)  # fmt: skip
def test_a_range_is_said_in_words(hint, words):
    assert bounds.described(hint) == words
    with pytest.raises(InputError) as caught:
        bounds.check(b"nothing", hint, "name")
    assert str(caught.value) == f"name=b'nothing': must be {words}"


@pytest.mark.parametrize(
    ("hint", "value", "stored"),
    [
        (Count, 10_000, 10_000),
        (Share, 0, 0.0),
        (Special, -1, -1.0),
        (tuple[Whole, ...], [3, 1], (3.0, 1.0)),
        (Folds | None, None, None),
        (Folds, "12", "12"),
    ],
)
def test_a_value_is_stored_as_its_type_says(hint, value, stored):
    found = bounds.check(value, hint, "name")
    assert found == stored
    assert repr(found) == repr(stored)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Count, 0),
        (Count, 1.0),
        (Count, True),
        (Share, 1.0),
        (Share, math.nan),
        (Share, None),
        (Special, -0.5),
        (Whole, 1.5),
        (tuple[Whole, ...], ()),
        (tuple[Whole, ...], (1, 1.0)),
        (tuple[Whole, ...], 3),
        (Folds, "12 "),
        (str, "\0"),
        (str, "\ud800"),
        (bool, 1),
        (Literal["a"], ["a"]),
    ],
)
def test_what_is_outside_is_refused(hint, value):
    with pytest.raises(InputError, match=r"^name=.*: must be "):
        bounds.check(value, hint, "name")
