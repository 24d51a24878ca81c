"""The checkpoints of AudioMAE, in every layout."""

import numpy as np
import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.weights.audiomae import AudioMaeCheckpoints

CHECKPOINTS = AudioMaeCheckpoints()
CLASSES = {"audiomae": None, "audiomae_ft": 527}


@pytest.mark.parametrize("name", CLASSES)
def test_the_full_size_layout_fits_with_nothing_left(name):
    about = manifest(f"{name}_base")
    tensors = without_memory(about["keys"])
    # Copies for timm hold the tensors alone.
    for content in ({"model": tensors, "epoch": 3}, tensors):
        found = CHECKPOINTS.find_tensors(content, name)
        assert set(found.tensors) == set(about.get("encoder_keys", about["keys"]))
        sizes = check_sizes(CHECKPOINTS, found)
        assert (sizes.width, sizes.depth, sizes.positions) == (768, 12, 513)
        assert sizes.classes == CLASSES[name]
        count = sum(v.size for k, v in found.tensors.items() if k != "pos_embed")
        assert count == about.get("trainable_parameters", count)


def test_the_base_model_is_the_default_of_untrained_weights():
    keys = manifest("audiomae_base")["keys"]
    names = manifest("audiomae_base")["encoder_keys"]
    layout = CHECKPOINTS.layout(CHECKPOINTS.base_sizes(768, 12, 12))
    assert layout == {name: tuple(keys[name]) for name in names}


def test_untrained_weights_have_the_fixed_positions():
    sizes = CHECKPOINTS.base_sizes(16, 1, 2)
    first, second = (CHECKPOINTS.untrained(sizes, seed) for seed in range(2))
    np.testing.assert_array_equal(first["pos_embed"], second["pos_embed"])
    assert not first["pos_embed"][0, 0].any()
    assert (first["cls_token"] != second["cls_token"]).all()
