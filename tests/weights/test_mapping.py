"""Key maps: every tensor is used once, and every parameter is filled once."""

import re

import numpy as np
import pytest

from unmute_jax.encoders import with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights.mapping import Rule, check_layout, map_tensors, nested

FAMILIES = ["asit", "audiomae", "beats", "dasheng", "eat"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("classes", [None, 5])
def test_key_maps_are_bijective(name, classes):
    checkpoints = with_weights(name).ORIGIN.checkpoints
    base = checkpoints.base_sizes(48, 11, 4)
    sizes = type(base)(**{**vars(base), "classes": classes})
    shapes = checkpoints.layout(sizes)
    for tensor in shapes:
        rules = [
            rule for rule in checkpoints.rules if re.fullmatch(rule.source, tensor)
        ]
        assert len(rules) <= 1
    # Numbers of its own in every tensor: a norm divides by them.
    tensors = {
        tensor: np.random.default_rng(i).uniform(1, 2, shape).astype(np.float32)
        for i, (tensor, shape) in enumerate(shapes.items())
    }
    leaves = list(checkpoints.leaves(tensors, sizes, name))
    paths = [path for path, _ in leaves]
    assert len(set(paths)) == len(paths)
    # As many numbers go in as come out, but where tensors are combined.
    combined = {"positions", "position_conv"} if name in ("beats", "dasheng") else ()
    count = sum(x.size for path, x in leaves if path[0] not in combined)
    others = ("pos_conv", "_pos_embed") if combined else ()
    kept = [x for k, x in tensors.items() if not any(part in k for part in others)]
    assert count == sum(x.size for x in kept)
    nest = nested(leaves)
    assert set(nest["blocks_10"]) == {"norm1", "attn", "norm2", "mlp"}


def test_tensors_that_are_used_twice_or_never_are_refused():
    tensors = {"a.weight": np.ones((2, 3)), "b": np.ones(2)}
    rule = Rule(r"a\.(weight)", r"x.\1")
    with pytest.raises(AssertionError, match="'b'"):
        list(map_tensors(tensors, [rule], "F"))
    with pytest.raises(AssertionError, match=r"a\.weight"):
        list(map_tensors(tensors, [rule, rule, Rule("b", "y.bias")], "F"))
    with pytest.raises(AssertionError, match="'c'"):
        list(map_tensors(tensors, [rule, Rule("b", "y", others=("c",))], "F"))


def test_rules_rename_combine_and_reshape():
    tensors = {
        "conv.weight": np.arange(12.0).reshape(2, 2, 3),
        "norm.weight": np.ones(2),
        "first": np.zeros(2),
        "second": np.ones(2),
    }
    rules = [
        Rule(r"(conv|norm)\.(weight|bias)", r"block.\1.\2"),
        Rule("first", "both", others=("second",), make=lambda *x: np.concatenate(x)),
    ]
    params = nested(map_tensors(tensors, rules, "F"))
    assert params["block"]["conv"]["weight"].tolist() == [[*range(6)], [*range(6, 12)]]
    assert list(params["block"]["norm"]) == ["scale"]
    assert params["both"].tolist() == [0, 0, 1, 1]


def test_one_line_lists_all_that_does_not_fit():
    layout = {"a": (2,), "b": (3,), "c": (4,), "d": (1,)}
    tensors = {"a": np.ones(2), "b": np.ones(2), "d": np.ones(1, int), "e": np.ones(1)}
    with pytest.raises(InputError) as caught:
        check_layout(tensors, layout, "file.pt")
    assert str(caught.value) == (
        "file.pt does not fit the network; missing: c; not expected: e; of another "
        "shape: b is [2], not [3]; not floating point: d is int64"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "has NaN or infinity"),
        (-np.inf, "has NaN or infinity"),
        (1e300, "has values that are too large for float32"),
    ],
)
def test_values_that_float32_cannot_hold_are_refused_by_name(value, message):
    tensors = {"a.weight": np.ones((2, 3)), "b": np.ones(2)}
    rules = [Rule(r"a\.(weight)", r"x.\1"), Rule("b", "y", make=lambda x: 2 * x)]
    list(map_tensors(tensors, rules, "F"))
    for name in tensors:
        changed = {name: tensors[name].copy()}
        changed[name].flat[1] = value
        with pytest.raises(InputError, match=rf"^F: the tensor {name} {message}"):
            list(map_tensors(tensors | changed, rules, "F"))


def test_a_norm_of_zero_is_found_behind_the_tensors_it_is_made_of():
    checkpoints = with_weights("beats").ORIGIN.checkpoints
    sizes = checkpoints.base_sizes(48, 1, 4)
    tensors = {k: np.ones(v, np.float32) for k, v in checkpoints.layout(sizes).items()}
    (direction,) = (name for name in tensors if name.endswith("weight_v"))
    tensors[direction] *= 0
    with pytest.raises(InputError, match=r"weight_g and .*weight_v has NaN"):
        list(checkpoints.leaves(tensors, sizes, "F"))
