"""The checkpoints of EAT and SSLAM, in every layout."""

import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.weights.eat import EatCheckpoints

CHECKPOINTS = EatCheckpoints()
CLASSES = {
    "fairseq_pretrained": None,
    "huggingface_pretrained": None,
    "fairseq_finetuned_AS2M": 527,
    "huggingface_finetuned_AS2M": 527,
}


@pytest.mark.parametrize("encoder", ["eat", "sslam"])
@pytest.mark.parametrize("layout", CLASSES)
def test_the_full_size_layout_fits_with_nothing_left(layout, encoder):
    about = manifest(f"{encoder}_base")
    tensors = without_memory(about[layout])
    if layout == "fairseq_pretrained":
        tensors["_ema"] = without_memory({"blocks.0.norm1.bias": []})
    found = CHECKPOINTS.find_tensors({"model": tensors}, layout)
    sizes = check_sizes(CHECKPOINTS, found)
    assert (sizes.width, sizes.depth, sizes.positions) == (768, 12, 6144)
    assert sizes.classes == CLASSES[layout]
    counts = about["parameter_counts"]
    full, tuned = counts["inference_incl_positions"], counts["fairseq_finetuned"]
    count = sum(v.size for v in found.tensors.values())
    assert count == (full if sizes.classes is None else tuned)


def test_the_base_model_is_the_default_of_untrained_weights():
    shapes = manifest("eat_base")["huggingface_pretrained"]
    layout = CHECKPOINTS.layout(CHECKPOINTS.base_sizes(768, 12, 12))
    assert {f"model.{k}": v for k, v in layout.items()} == {
        k: tuple(v) for k, v in shapes.items()
    }


@pytest.mark.parametrize(
    "content",
    [
        {"cfg": {"model": {"num_heads": 3}}},
        {"cfg": {"model": {"pretrained_model_args": {"model": {"num_heads": 3}}}}},
        {"config": {"num_heads": 3}},
        {},
    ],
)
def test_heads_are_those_given_or_stated_or_usual(content):
    sizes = CHECKPOINTS.base_sizes(384, 1, 3)
    tensors = CHECKPOINTS.untrained(sizes, 0)
    found = CHECKPOINTS.find_tensors({"model": tensors, **content}, "file.pt")
    assert CHECKPOINTS.choose_heads(found, sizes, None) == (3 if content else 6)
    assert CHECKPOINTS.choose_heads(found, sizes, 12) == 12
