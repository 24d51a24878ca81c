"""Weights from files of every family, and random ones."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests import golden
from unmute_jax.encoders import with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights import loading
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.loading import from_file


def cases():
    """(encoder, file, heads if the file does not state them) of the golden encoders."""
    listed = json.loads((golden.ENCODERS / "cases.json").read_text("utf-8"))["cases"]
    unique = {case["weights"]: case for case in listed}
    if not unique:
        raise FileNotFoundError(f"no case in {golden.ENCODERS}")
    return [pytest.param(case, id=name) for name, case in unique.items()]


@pytest.mark.parametrize("case", cases())
def test_unknown_tensors_refuse_the_file_by_name(case):
    origin = with_weights(case["encoder"]).ORIGIN
    file = read_weights(golden.ENCODERS / case["weights"])
    content = file.content
    nested = content.get("teacher", content.get("model"))
    state = content if nested is None else nested
    state["surprise.weight"] = np.zeros(3, np.float32)
    with pytest.raises(InputError, match=r"not expected: surprise\.weight"):
        from_file(origin, file, case["num_heads"])
    del state["surprise.weight"]
    weights = from_file(origin, file, case["num_heads"])
    beside = {**content, "epochs": 3, "other": [{"deep": np.zeros(3)}]}
    other = dataclasses.replace(file, content=beside)
    with pytest.raises(InputError, match=r"not (known|expected): '?other"):
        from_file(origin, other, case["num_heads"])
    assert all(weights.ignored.values())
    paths = [path for path, _ in weights.leaves()]
    assert len(paths) == len(set(paths))


FAMILIES = ["asit", "audiomae", "beats", "dasheng", "eat"]


@pytest.mark.parametrize("name", FAMILIES)
def test_untrained_weights_are_told_by_their_seed(name):
    origin = with_weights(name).ORIGIN
    first, again, other = (
        loading.untrained(origin, seed, width=48, depth=1, num_heads=4)
        for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    assert first.identity == again.identity == "untrained (seed 0)"
    assert other.identity != first.identity
    same = [
        np.array_equal(a, b)
        for (_, a), (_, b) in zip(first.leaves(), other.leaves(), strict=True)
    ]
    assert not all(same)
    assert first.description.endswith("-48x1, untrained (seed 0)")


def test_weights_that_no_memory_holds_are_one_line():
    with pytest.raises(InputError, match=r"width=16,384 and depth=1,000 make 12\.9 TB"):
        loading.untrained(with_weights("eat").ORIGIN, 0, width=16384, depth=1000)


def test_untrained_weights_have_the_sizes_of_the_base_model_by_default():
    weights = loading.untrained(with_weights("eat").ORIGIN, 0)
    assert (weights.sizes.width, weights.sizes.depth) == (768, 12)
    assert weights.num_heads == 12
    assert weights.description == "EAT-base, untrained (seed 0)"


def test_sizes_that_do_not_fit_each_other_are_refused():
    with pytest.raises(InputError, match="48 cannot be split into 5 heads"):
        loading.untrained(with_weights("eat").ORIGIN, 0, width=48, num_heads=5)


def test_an_impossible_number_of_heads_names_the_file():
    case = next(c.values[0] for c in cases() if c.values[0]["encoder"] == "eat")
    path = golden.ENCODERS / case["weights"]
    origin, file = with_weights("eat").ORIGIN, read_weights(path)
    with pytest.raises(InputError, match=r"^.*/eat_tiny\S*: width 48 cannot be split"):
        from_file(origin, file, num_heads=-3)
