"""The checkpoints of Bird-MAE at full size, in every layout."""

import numpy as np
import pytest

from tests import golden
from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.weights.audiomae import position_table
from unmute_jax.weights.bird_mae import PUBLISHED_SIZES, BirdMaeCheckpoints
from unmute_jax.weights.files import read_weights

CHECKPOINTS = BirdMaeCheckpoints()


@pytest.mark.parametrize("name", ["base", "huge"])
def test_full_size_layouts_fit_with_nothing_left(name):
    about = manifest(f"bird_mae_{name}")
    hub = without_memory(about["huggingface"])
    pretrained = without_memory(about["lightning_pretrained"])
    shapes = about["lightning_finetuned"].items()
    tuned = without_memory(
        {k: [21 if n == "classes" else n for n in shape] for k, shape in shapes}
    )
    training = {"epoch": 1, "optimizer_states": [np.zeros(3)], "loops": {}}
    for content, ignored in (
        ({"model": hub, "config": {}}, set()),
        ({"model": {f"model.{k}": v for k, v in hub.items()}}, set()),
        ({"state_dict": pretrained, **training}, {"decoder"}),
        ({"state_dict": tuned, **training}, set()),
    ):
        found = CHECKPOINTS.find_tensors(content, name)
        sizes = check_sizes(CHECKPOINTS, found)
        known = PUBLISHED_SIZES[sizes.width, sizes.depth]
        assert known == (name, about["num_heads"])
        assert CHECKPOINTS.choose_heads(found, sizes, None) == about["num_heads"]
        beside = {*training, "config"}
        left = {k.partition(".")[0] for k in found.ignored if k not in beside}
        assert left <= {*ignored, "mask_token"}


def test_the_averaged_model_is_taken_where_there_is_one():
    file = read_weights(golden.MORE_ENCODERS / "bird_mae_tiny.safetensors")
    tensors = dict(file.content["model"])
    both = {f"encoder_ema.{k}": v for k, v in tensors.items()}
    both |= {f"encoder.{k}": v + 1 for k, v in tensors.items()}
    found = CHECKPOINTS.find_tensors({"state_dict": both}, "file")
    assert found.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)


def test_the_norm_that_pretraining_lacks_is_the_identity():
    file = read_weights(golden.MORE_ENCODERS / "bird_mae_tiny.safetensors")
    content = {
        "state_dict": {
            f"encoder.{k}": v
            for k, v in file.content["model"].items()
            if not k.startswith("fc_norm")
        }
    }
    found = CHECKPOINTS.find_tensors(content, "file")
    np.testing.assert_array_equal(found.tensors["fc_norm.weight"], 1)
    np.testing.assert_array_equal(found.tensors["fc_norm.bias"], 0)
    check_sizes(CHECKPOINTS, found)


def test_the_untrained_positions_are_the_table_of_the_reference():
    sizes = CHECKPOINTS.base_sizes(16, 1, 2)
    drawn = CHECKPOINTS.untrained(sizes, seed=0)["pos_embed"][0]
    np.testing.assert_array_equal(drawn[0], 0)
    # Token (t, f) has the angles of column 8 (t mod 4) + f and row t // 4.
    t, f, omega = 13, 5, 10000.0 ** (-np.arange(4) / 4)
    column, row = 8 * (t % 4) + f, t // 4
    want = [np.sin(column * omega), np.cos(column * omega)]
    want += [np.sin(row * omega), np.cos(row * omega)]
    np.testing.assert_allclose(drawn[1 + 8 * t + f], np.concatenate(want), atol=1e-6)
    np.testing.assert_array_equal(drawn[1:], position_table(256, 16))
