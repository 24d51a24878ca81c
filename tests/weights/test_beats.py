"""The checkpoints of BEATs at full size."""

import dataclasses

import numpy as np
import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.weights.beats import BeatsCheckpoints

CHECKPOINTS = BeatsCheckpoints()
CLASSES = {"beats_base": None, "beats_ft_base": 527}
TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


@pytest.mark.parametrize("name", CLASSES)
def test_the_full_size_layout_fits_with_nothing_left(name):
    about = manifest(name)
    content = {"cfg": about["cfg"], "model": without_memory(about["state_dict"])}
    found = CHECKPOINTS.find_tensors(content, name)
    sizes = check_sizes(CHECKPOINTS, found)
    left_out = about["state_dict"].keys() - found.tensors.keys()
    assert left_out == {TABLE.format(i) for i in range(1, 12)}
    assert sum(v.size for v in found.tensors.values()) == about["n_parameters"]
    base = CHECKPOINTS.base_sizes(768, 12, 12)
    assert sizes == dataclasses.replace(base, classes=CLASSES[name])


def test_queries_keys_and_values_become_one_parameter():
    sizes = dataclasses.replace(CHECKPOINTS.base_sizes(32, 1, 4), kernel=3)
    tensors = CHECKPOINTS.untrained(sizes, 0)
    leaves = dict(CHECKPOINTS.leaves(tensors, sizes, "untrained"))
    parts = [
        tensors[f"encoder.layers.0.self_attn.{part}_proj.weight"] for part in "qkv"
    ]
    qkv = leaves["blocks_0", "attn", "qkv", "weight"]
    np.testing.assert_array_equal(qkv, np.concatenate(parts))
