"""The checkpoints of AST at full size, in both layouts."""

import pytest

from tests.weights.manifests import check_sizes, manifest, without_memory
from unmute_jax.errors import InputError
from unmute_jax.weights.ast import PUBLISHED_POSITIONS, AstCheckpoints

CHECKPOINTS = AstCheckpoints()


def variants():
    """Name and shapes of both layouts of every published size."""
    about = manifest("ast")
    yield "audioset_10_10", about["original"], about["huggingface"]
    for name, other in about["differs_from_10_10"].items():
        original = about["original"] | other.get("original", {})
        yield name, original, about["huggingface"] | other.get("huggingface", {})


@pytest.mark.parametrize(("name", "original", "hub"), [*variants()])
def test_full_size_layouts_fit_with_nothing_left(name, original, hub):
    authors = without_memory(original)
    for content in (
        authors,
        {k.removeprefix("module."): v for k, v in authors.items()},
    ):
        found = CHECKPOINTS.find_tensors(content, name)
        sizes = check_sizes(CHECKPOINTS, found)
        assert {n for n in found.ignored if "head" in n} == set(found.ignored)
        assert (sizes.epsilon_digits, sizes.head_epsilon_digits) == (6, 5)
        assert (sizes.stride, sizes.frames) == PUBLISHED_POSITIONS[sizes.positions]
        assert CHECKPOINTS.choose_heads(found, sizes, None) == 12
    found = CHECKPOINTS.find_tensors({"model": without_memory(hub)}, name)
    hub_sizes = check_sizes(CHECKPOINTS, found)
    assert (hub_sizes.epsilon_digits, hub_sizes.head_epsilon_digits) == (12, 12)
    assert hub_sizes.positions == sizes.positions
    assert not found.ignored


def test_an_unknown_number_of_positions_is_refused_without_a_configuration():
    tensors = without_memory(manifest("ast")["original"])
    tensors |= without_memory({"module.v.pos_embed": (1, 302, 768)})
    found = CHECKPOINTS.find_tensors(tensors, "file.pth")
    with pytest.raises(InputError, match=r"302 positions.*put a config\.json"):
        CHECKPOINTS.read_sizes(found)
