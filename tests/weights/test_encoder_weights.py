"""The weights of an encoder, and where they come from."""

import jax
import numpy as np
import pytest

from unmute_jax.encoders import with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.encoder_weights import (
    EncoderWeights,
    check_heads,
    describe,
    training_of,
)

ORIGIN = with_weights("eat").ORIGIN


def sizes(width, depth, classes=None):
    return Sizes(width=width, depth=depth, hidden=8, positions=8, classes=classes)


def test_published_sizes_have_a_name():
    assert ORIGIN.name == "eat"
    assert ORIGIN.title_of(sizes(768, 12)) == "EAT-base"
    assert ORIGIN.title_of(sizes(16, 2)) == "EAT-16x2"
    assert describe(ORIGIN, sizes(768, 12, 527), "x.pt") == "EAT-base, fine-tuned, x.pt"
    assert training_of(sizes(16, 2)) == "pre-trained"


def test_heads_must_divide_the_width():
    assert check_heads(sizes(48, 1), 4) == 4
    for heads in (0, -4, 5, 96):
        with pytest.raises(InputError, match=f"48 cannot be split into {heads} heads"):
            check_heads(sizes(48, 1), heads)


def test_parameters_are_a_tree_of_float32_on_the_device():
    arrays = {("a", "b"): np.arange(3, dtype=np.float16), ("c",): np.ones((2, 3)).T}
    weights = EncoderWeights(
        sizes=None,
        num_heads=1,
        classes=(),
        leaves=lambda: iter(arrays.items()),
        description="",
        licence="",
        identity="",
    )
    params = weights.params
    assert jax.tree.map(lambda x: (x.shape, x.dtype.name), params) == {
        "a": {"b": ((3,), "float32")},
        "c": ((3, 2), "float32"),
    }
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
