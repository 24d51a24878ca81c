"""The checkpoints of AVES2 at full size, in every layout."""

import re

import numpy as np
import pytest

from tests import golden
from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.errors import InputError
from unmute_jax.weights.aves2 import Aves2BeatsCheckpoints, Aves2EatCheckpoints
from unmute_jax.weights.files import read_weights

TABLE = "self_attn.relative_attention_bias.weight"


def full_size(part):
    shapes = manifest("aves2")[part].items()
    return without_memory(
        {key: [9 if isinstance(n, str) else n for n in shape] for key, shape in shapes}
    )


@pytest.mark.parametrize("part", ["beats", "eat"])
def test_full_size_layouts_fit_with_nothing_left(part):
    checkpoints = {"beats": Aves2BeatsCheckpoints(), "eat": Aves2EatCheckpoints()}[part]
    tensors = full_size(part)
    bare = {k: v for k, v in tensors.items() if not k.startswith("classifier")}
    short = {k.removeprefix("backbone."): v for k, v in bare.items()}
    for content, has_head in (
        ({"model": tensors}, True),
        ({"model": {f"module.{k}": v for k, v in tensors.items()}}, True),
        ({"model_state_dict": {f"model.{k}": v for k, v in tensors.items()}}, True),
        ({"model": bare}, False),
        ({"model": short}, False),
    ):
        found = checkpoints.find_tensors(content, part)
        sizes = check_sizes(checkpoints, found)
        assert (sizes.width, sizes.depth) == (768, 12)
        assert (sizes.classes == 9) == has_head
        known = ("fbank", "predictor", TABLE, "config")
        assert all(any(k in name for k in known) for name in found.ignored)


def test_the_table_may_lie_under_any_one_block():
    file = read_weights(golden.MORE_ENCODERS / "aves2_beats_tiny.safetensors")
    tensors = {k: v for k, v in file.content["model"].items() if TABLE not in k}
    (name,) = [k for k in file.content["model"] if TABLE in k]
    table = file.content["model"][name]
    checkpoints = Aves2BeatsCheckpoints()
    elsewhere = re.sub(r"layers\.\d", "layers.2", name)
    found = checkpoints.find_tensors({"model": {**tensors, elsewhere: table}}, "file")
    check_sizes(checkpoints, found)
    differing = {**tensors, name: table, elsewhere: np.asarray(table) + 1}
    with pytest.raises(InputError, match=r"layers\.2.* is not that of .*layers\.0"):
        checkpoints.find_tensors({"model": differing}, "file")
