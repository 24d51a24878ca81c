"""The checkpoints of Dasheng at full size."""

import numpy as np
import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.audio.mel import mel_banks, window
from unmute_jax.weights.dasheng import MEL, PUBLISHED_SIZES, DashengCheckpoints

CHECKPOINTS = DashengCheckpoints()
HEADS = {"base": 12, "06B": 16, "12B": 24}


@pytest.mark.parametrize("name", HEADS)
def test_the_full_size_layout_fits_with_nothing_left(name):
    about = manifest(f"dasheng_{name}")
    tensors = without_memory(about["state_dict"])
    buffers = {"window": window(MEL), "fb": np.pad(mel_banks(MEL), ((0, 1), (0, 0)))}
    for key in [key for key in tensors if key.startswith("front_end")]:
        tensors[key] = buffers[key.rpartition(".")[2]]
    content = {"model": tensors, "config": about["constructor_arguments"]}
    found = CHECKPOINTS.find_tensors(content, name)
    sizes = check_sizes(CHECKPOINTS, found)
    left_out = tensors.keys() - found.tensors.keys()
    assert {key.partition(".")[0] for key in left_out} == {"front_end", "init_bn"}
    assert len(left_out) == 3
    # The statistics of the BatchNorm are no parameters.
    count = sum(v.size for v in found.tensors.values())
    assert count == about["n_parameters"] + 2 * 64
    assert sizes == CHECKPOINTS.base_sizes(sizes.width, sizes.depth, 1)
    known = PUBLISHED_SIZES[sizes.width, sizes.depth]
    assert known[1] == HEADS[name] == content["config"]["num_heads"]
    assert CHECKPOINTS.choose_heads(found, sizes, None) == HEADS[name]
