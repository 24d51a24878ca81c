import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from unmute_jax.errors import InputError
from unmute_jax.results.typed_json import (
    DamagedFile,
    as_dataclass,
    as_type,
    parse_object,
    read_object,
)


@dataclass(frozen=True)
class Example:
    name: str
    score: float
    pairs: tuple[tuple[int, float | None], ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


def test_values_become_what_the_fields_want():
    values = {"name": "a", "score": 1, "pairs": [[1, 2], [3, None]]}
    found = as_dataclass(Example, values, "x.json")
    assert found == Example("a", 1.0, ((1, 2.0), (3, None)))
    assert type(found.score) is float
    assert math.isnan(as_type(None, float, "x.json: score"))
    # Another version may know other words.
    assert as_type("other", Literal["a", "b"], "x.json: word") == "other"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "x.json: name is 3, must be a text"),
        ({"score": "0.5"}, 'x.json: score is "0.5", must be a number'),
        ({"score": True}, "x.json: score is true, must be a number"),
        ({"score": 10**400}, "x.json: score is 1000"),
        ({"pairs": {}}, "x.json: pairs is an object, must be a list"),
        ({"pairs": [[1]]}, r"x.json: pairs\[0\] is a list, must be a list of 2"),
        (
            {"pairs": [[1, 2], [3, "x"]]},
            r'x.json: pairs\[1\]\[1\] is "x", must be a number or null',
        ),
        ({"pairs": [[1.5, 2]]}, r"x.json: pairs\[0\]\[0\] is 1.5, must be an integer"),
        ({"more": None}, "x.json: more is null, must be an object"),
    ],
)
def test_a_wrong_type_is_named_with_its_field_and_value(changes, message):
    with pytest.raises(DamagedFile, match=message):
        as_dataclass(Example, {"name": "a", "score": 1.0, **changes}, "x.json")
    with pytest.raises(DamagedFile, match=r"word is 3, must be a text or null"):
        as_type(3, Literal["a"] | None, "x.json: word")


def test_fields_that_are_missing_or_unknown_are_named():
    with pytest.raises(DamagedFile, match=r"x\.json: has no field score"):
        as_dataclass(Example, {"name": "a"}, "x.json")
    # A newer version may know it, so the file is not called damaged.
    with pytest.raises(InputError, match=r"unknown field 'later'.*update") as caught:
        as_dataclass(Example, {"name": "a", "score": 1, "later": 2}, "x.json")
    assert not isinstance(caught.value, DamagedFile)


def test_numbers_that_are_not_finite_become_null():
    """Older versions wrote them, though they are not JSON."""
    values = parse_object('{"a": NaN, "b": [-Infinity, "NaN"]}', "x.json")
    assert values == {"a": None, "b": [None, "NaN"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"{", "Expecting"),
        (b"[]", "it is a list, not an object"),
        (b"null", "it is null, not an object"),
        (b"\xff{}", "utf-8"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"a": ' * 60 + b"1" + b"}" * 60, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": 1, "a": 2}', "twice"),
    ],
)
def test_a_file_that_is_no_object_is_named(text, reason, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(DamagedFile, match=rf"x\.json: not a record \(.*{reason}"):
        read_object(path, "a record")


def test_a_message_is_one_line_whatever_the_file_holds():
    values = {"name": "a", "score": 1, "more": {"b\n\x1b[31m": [float("nan")]}}
    with pytest.raises(DamagedFile) as caught:
        as_type(values, dict[str, str], "x\n.json")
    assert str(caught.value).isprintable()
