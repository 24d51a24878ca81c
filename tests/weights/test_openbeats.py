"""The checkpoints of OpenBEATs at full size, in every layout."""

import numpy as np
import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.weights.beats import BeatsCheckpoints
from unmute_jax.weights.openbeats import MEAN, STD, OpenBeatsCheckpoints

CHECKPOINTS = OpenBeatsCheckpoints()


@pytest.mark.parametrize("name", ["base", "large"])
def test_full_size_layouts_fit_with_nothing_left(name):
    about = manifest(f"openbeats_{name}")
    encoder = without_memory(about["encoder_keys"])
    decoder = without_memory(about["pretraining_decoder_keys"])
    tuned = {
        key: [11 if n == "classes" else n for n in shape]
        for key, shape in about["espnet_finetuned"].items()
    }
    whole = {f"encoder.{k}": v for k, v in encoder.items()}
    whole |= {f"decoder.{k}": v for k, v in decoder.items()}
    for content in (
        {"cfg": about["cfg"], "model": encoder},
        {"cfg": about["cfg"], "model": encoder | decoder},
        {"cfg": about["cfg"], "model": whole},
        without_memory(tuned),
    ):
        found = CHECKPOINTS.find_tensors(content, name)
        sizes = check_sizes(CHECKPOINTS, found)
        assert sizes.max_distance == 800
        assert (sizes.classes is not None) == ("cfg" not in content)
        count = sum(v.size for n, v in found.tensors.items() if "predictor" not in n)
        # Both constants of the front end are here, and those of the masks are not.
        assert count - 2 + 656 == about["parameter_count_tied_table_once"]
        np.testing.assert_allclose(found.tensors["fbank_mean"], [MEAN])
        np.testing.assert_allclose(found.tensors["fbank_std"], [STD])
        assert CHECKPOINTS.choose_heads(found, sizes, None) == sizes.width // 64


def test_patches_as_wide_as_the_blocks_are_not_projected():
    sizes = BeatsCheckpoints().base_sizes(48, 1, 4)
    tensors = BeatsCheckpoints().untrained(sizes, 0)
    wide = {"patch_embedding.weight": np.ones((48, 1, 16, 16), np.float32)}
    wide |= {f"layer_norm.{k}": np.ones(48, np.float32) for k in ("weight", "bias")}
    for key in ("weight", "bias"):
        del tensors[f"post_extract_proj.{key}"]
    found = CHECKPOINTS.find_tensors({"model": tensors | wide}, "file")
    weight = found.tensors["post_extract_proj.weight"]
    np.testing.assert_array_equal(weight, np.eye(48))
    check_sizes(CHECKPOINTS, found)
