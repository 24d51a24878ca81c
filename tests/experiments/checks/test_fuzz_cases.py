"""What counts as a silent change, and as one clear line."""

import json
import logging

import numpy as np
import pytest

from experiments.checks import mutated_json, mutated_safetensors
from experiments.checks.fuzz_cases import (
    check_line,
    first_difference,
    judge,
)
from unmute_jax.errors import InputError

NAN = float("nan")


@pytest.mark.parametrize(
    ("found", "original", "place"),
    [
        ({"a": [1, NAN]}, {"a": [1, NAN]}, None),
        ({"a": (1, 2)}, {"a": [1, 2]}, None),
        ({"a": 1}, {"a": 1.0}, ".'a' is 1 instead of 1.0"),
        ({"a": 1}, {}, ".'a' is only in one"),
        ([1, 2], [1], " has 2 items instead of 1"),
        (np.zeros(2), np.zeros(2), None),
        (np.zeros(2), -np.zeros(2), " has other numbers"),
        (np.zeros(2), np.zeros(2, int), " is float64[2] instead of int64[2]"),
        (None, 0, " is None instead of 0"),
    ],
)
def test_two_values_are_equal_or_differ_at_a_place(found, original, place):
    assert first_difference(found, original) == place


def refuse(message):
    def read():
        raise InputError(message)

    return read


def tell(value, message):
    def read():
        logging.getLogger("unmute_jax.somewhere").warning("%s", message)
        return value

    return read


def test_other_values_are_a_failure_unless_nothing_protects_them(tmp_path):
    assert judge(tmp_path, lambda: 1, 1, may_differ=False) == "as before"
    assert judge(tmp_path, lambda: 2, 1, may_differ=True) == "other values"
    with pytest.raises(AssertionError, match="another value without a word"):
        judge(tmp_path, lambda: 2, 1, may_differ=False)
    told = tell(2, f"{tmp_path}: line 3 is damaged")
    assert judge(tmp_path, told, 1, may_differ=False) == "named and left out"


def test_a_refusal_is_one_short_line_that_names_the_file(tmp_path):
    assert (
        judge(tmp_path, refuse(f"{tmp_path}/a: no"), 1, may_differ=False) == "refused"
    )
    for message in ("no", f"{tmp_path}\nno", f"{tmp_path} {'x' * 500}"):
        with pytest.raises(AssertionError):
            judge(tmp_path, refuse(message), 1, may_differ=False)
    check_line("a value is wrong")


def test_json_is_changed_in_every_way_and_the_original_stays():
    value = {"a": [1, {"b": "text"}], "c": 0.5, "d": {}}
    before, names = json.dumps(value), set()
    for seed in range(200):
        name, changed = mutated_json.change(value, np.random.default_rng(seed))
        names.add(name)
        assert mutated_json.encode(changed)
    assert names == mutated_json.CHANGES.keys()
    assert json.dumps(value) == before


def test_json_can_be_nested_more_deeply_than_python_writes():
    names = [
        mutated_json.encode(mutated_json.change([[1]], np.random.default_rng(seed))[1])
        for seed in range(300)
    ]
    assert max(map(len, names)) >= 200_000
    assert any(b"1e999" in text for text in names)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_tensors_are_changed_and_the_file_remains_valid(is_sealed):
    tensors = {"x": np.ones((2, 3), np.float32), "y": np.arange(4, dtype=np.uint8)}
    metadata = {"digest": "", "about": json.dumps({"a": 1})}
    data = mutated_safetensors.put_together(metadata, tensors, sealed=True)
    digests, names = set(), set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        name, changed = mutated_safetensors.change_tensors(data, rng, sealed=is_sealed)
        length = int.from_bytes(changed[:8], "little")
        about = json.loads(changed[8 : 8 + length])["__metadata__"]
        digests.add(about["digest"])
        names.add(name)
    assert len(names) == len(mutated_safetensors.CHANGES)
    assert (len(digests) > 1) == is_sealed
