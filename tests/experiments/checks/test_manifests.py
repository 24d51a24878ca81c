"""Every published layout at full size, without its memory."""

import numpy as np
import pytest

from experiments.benchmarks.torch_writer import write_torch_zip
from experiments.checks.published_layouts import Layout, layouts
from tests import golden
from unmute_jax.encoders import list_encoders, with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch

FOLDERS = (golden.ENCODERS, golden.MORE_ENCODERS)
LAYOUTS = [pytest.param(layout, id=layout.name) for layout in layouts(*FOLDERS)]
# Where the tensors are in the content of a file.
STATES = ("teacher", "model", "model_state_dict", "state_dict", "encoder")
# The last linear map of a block, in every naming.
LAST = ("fc2.bias", "output.dense.bias", "mlp.2.bias")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_left_over_and_nothing_is_missing(layout):
    weights = layout.load()
    origin = with_weights(layout.encoder).ORIGIN
    needed = origin.checkpoints.layout(weights.sizes)
    assert weights.used == len(needed)
    held = sum(np.prod(shape, dtype=np.int64) for shape in needed.values())
    paths = [path for path, _ in weights.leaves()]
    assert len(set(paths)) == len(paths)
    if layout.encoder in ("eat", "sslam", "audiomae", "asit"):
        assert sum(array.size for _, array in weights.leaves()) == held
    assert ("fine-tuned" in weights.description) == (weights.sizes.classes is not None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_tensor_more_or_less_is_noticed(layout):
    found = [layout.content[key] for key in STATES if key in layout.content]
    state = found[0] if found else layout.content
    state["surprise"] = np.zeros(3, np.float32)
    with pytest.raises(InputError, match="not expected: surprise"):
        layout.load()
    del state["surprise"]
    name = next(n for n in state if n.endswith(LAST) and "decoder" not in n)
    tensor = state.pop(name)
    with pytest.raises(InputError, match=r"missing: \S*bias"):
        layout.load()
    state[name] = tensor


def test_every_encoder_has_a_manifest():
    families = {name.rstrip("+") for name in list_encoders()} - {"logmel"}
    assert {param.values[0].encoder for param in LAYOUTS} == families


def test_files_are_written_as_pytorch_would(tmp_path):
    shown = np.broadcast_to(np.zeros((), np.float32), (3, 5))
    own = np.arange(6, dtype=np.int64).reshape(2, 3)
    content = {"model": {"a": shown, "tied": shown, "own": own, "one": own[0, :1]}}
    content |= {"epoch": 3, "cfg": {"rate": 0.5, "on": True, "no": None, "l": [1, "x"]}}
    file = tmp_path / "weights.pt"
    write_torch_zip(file, content)
    found = read_torch(file)
    assert {k: v for k, v in found.items() if k != "model"} == {
        k: v for k, v in content.items() if k != "model"
    }
    model = found["model"]
    np.testing.assert_array_equal(model["own"], own)
    assert model["own"].dtype == np.int64
    assert model["one"].tolist() == [0]
    assert model["a"].shape == (3, 5)
    assert 0 < model["a"].std() < 0.1
    assert np.shares_memory(model["a"], model["tied"])


def test_eat_large_fits_as_well():
    origin = with_weights("eat").ORIGIN
    shapes = origin.checkpoints.layout(origin.checkpoints.base_sizes(1024, 24, 16))
    zero = np.zeros((), np.float32)
    model = {f"model.{k}": np.broadcast_to(zero, v) for k, v in shapes.items()}
    weights = Layout("large", "eat", {"model": model}).load()
    assert weights.description.startswith("EAT-large, pre-trained")
    assert weights.num_heads == 16
    # The specification counts the position table as well.
    assert sum(array.size for _, array in weights.leaves()) == 308_867_072
