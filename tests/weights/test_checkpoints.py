"""What all families of checkpoints have in common."""

import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Checkpoints, Sizes
from unmute_jax.weights.contents import count_blocks, select, size_of, state_dict
from unmute_jax.weights.mapping import Rule, linear_shapes


class TinyCheckpoints(Checkpoints):
    """The smallest family: linear maps one behind the other."""

    base_positions = 1
    heads_paths = (("config", "heads"),)
    rules = (Rule(r"map\.(\d+)\.(weight|bias)", r"map_\1.\2"),)

    def find_tensors(self, content, source):
        return select(state_dict(content, source), layout="tiny", ignored={})

    def read_sizes(self, found):
        depth = count_blocks(found, r"map\.(\d+)")
        width = size_of(found, "map.0.weight", 0)
        return Sizes(width=width, depth=depth, hidden=4 * width, positions=1)

    def layout(self, sizes):
        maps = range(sizes.depth)
        shapes = [linear_shapes(f"map.{i}", sizes.width, sizes.width) for i in maps]
        return {name: shape for map in shapes for name, shape in map.items()}


TINY = TinyCheckpoints()


def test_a_family_needs_no_more_than_this():
    sizes = TINY.base_sizes(128, 2, 4)
    tensors = TINY.untrained(sizes, 0)
    found = TINY.find_tensors({"model": tensors}, "file.pt")
    assert TINY.read_sizes(found) == sizes
    leaves = dict(TINY.leaves(found.tensors, sizes, "file.pt"))
    assert set(leaves) == {(f"map_{i}", n) for i in (0, 1) for n in ("weight", "bias")}
    np.testing.assert_array_equal(leaves["map_1", "weight"], tensors["map.1.weight"])
    del tensors["map.1.bias"]
    with pytest.raises(InputError, match=r"missing: map\.1\.bias"):
        TINY.leaves(tensors, sizes, "file.pt")


def test_heads_are_those_given_or_stated_or_of_the_usual_width():
    sizes = TINY.base_sizes(128, 1, 4)
    tensors = TINY.untrained(sizes, 0)
    stated = TINY.find_tensors({"model": tensors, "config": {"heads": 8}}, "file.pt")
    silent = TINY.find_tensors({"model": tensors}, "file.pt")
    assert TINY.choose_heads(stated, sizes, 16) == 16
    assert TINY.choose_heads(stated, sizes, None) == 8
    assert TINY.choose_heads(silent, sizes, None) == 2


def test_random_tensors_are_drawn_as_most_references_do():
    rng = np.random.default_rng(0)
    assert not TINY.draw("x.bias", (4,), rng).any()
    assert (TINY.draw("norm.weight", (4,), rng) == 1).all()
    patches = TINY.draw("patch_embed.proj.weight", (50, 1, 16, 16), rng)
    assert 0.9 < np.abs(patches).max() / np.sqrt(6 / (50 + 256)) <= 1
    others = TINY.draw("x.weight", (100, 100), rng)
    assert others.dtype == np.float32
    np.testing.assert_allclose(others.std(), 0.02, rtol=0.05)
