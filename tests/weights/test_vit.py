"""The checkpoints that share the names of timm."""

import numpy as np
import pytest

from unmute_jax.errors import InputError
from unmute_jax.weights.contents import EncoderTensors
from unmute_jax.weights.vit import VitCheckpoints, sine_table


class PlainCheckpoints(VitCheckpoints):
    """Every tensor of a file, under its own name."""

    base_positions = 1 + 8 * 4

    def find_tensors(self, content, source):
        return EncoderTensors(
            content=content, source=source, layout="", tensors=content, ignored={}
        )


@pytest.mark.parametrize("classes", [None, 7])
def test_sizes_are_those_that_the_tensors_were_made_with(classes):
    checkpoints = PlainCheckpoints()
    sizes = checkpoints.base_sizes(16, 2, 4)
    sizes = type(sizes)(**{**vars(sizes), "classes": classes})
    tensors = checkpoints.untrained(sizes, 0)
    assert checkpoints.read_sizes(checkpoints.find_tensors(tensors, "x")) == sizes
    assert ("norm.weight" in tensors) == (classes is None)


@pytest.mark.parametrize("rows", [0, 1, 8, 32])
def test_the_position_table_is_one_row_and_whole_time_steps(rows):
    checkpoints = PlainCheckpoints()
    tensors = checkpoints.untrained(checkpoints.base_sizes(16, 1, 4), 0)
    tensors["pos_embed"] = np.zeros((1, rows, 16), np.float32)
    with pytest.raises(InputError, match=f"pos_embed has {rows} rows, not 1 \\+ 8 n"):
        checkpoints.read_sizes(checkpoints.find_tensors(tensors, "file.pt"))


def test_the_sine_table_holds_both_indices():
    table = sine_table((np.array([0, 1]), np.array([2, 0])), 8)
    assert table.shape == (2, 8)
    assert table.dtype == np.float32
    angles = np.array([[0, 0, 2, 0.02], [1, 0.01, 0, 0]])
    want = np.concatenate(
        [wave(angles[:, k : k + 2]) for k in (0, 2) for wave in (np.sin, np.cos)], 1
    )
    np.testing.assert_allclose(table, want, atol=1e-7)
    with pytest.raises(InputError, match="a width of 4 n, not 6"):
        sine_table((np.arange(2), np.arange(2)), 6)
