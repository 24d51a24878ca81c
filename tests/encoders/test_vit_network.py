"""The network that all vision transformers share."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.encoders.asit import AsitNetwork
from unmute_jax.encoders.audiomae import AudioMaeNetwork
from unmute_jax.encoders.eat import EatNetwork
from unmute_jax.weights.vit import Sizes

NETWORKS = [AsitNetwork, AudioMaeNetwork, EatNetwork]
SIZES = Sizes(width=16, depth=2, hidden=24, positions=65, classes=None)


def init(network, mels=128):
    """An input, and random parameters in place of zeros."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 36, mels), np.float32))
    variables = jax.eval_shape(network.init, jax.random.key(0), x)

    def draw(leaf):
        return jnp.asarray(rng.standard_normal(leaf.shape, np.float32))

    return x, jax.tree.map(draw, variables)


@pytest.mark.parametrize("kind", NETWORKS)
def test_tokens_are_a_class_token_and_patches(kind):
    network = kind(sizes=SIZES, num_heads=2)
    x, variables = init(network)
    blocks, feature = jax.jit(network.apply)(variables, x)
    assert [block.shape for block in blocks] == [(2, 1 + 2 * 8, 16)] * 2
    assert feature.shape == blocks[-1].shape
    ends_in_a_norm = "norm" in variables["params"]
    assert np.array_equal(feature, blocks[-1]) != ends_in_a_norm


@pytest.mark.parametrize("kind", NETWORKS)
def test_fine_tuned_weights_have_a_head_in_place_of_the_last_norm(kind):
    network = kind(sizes=dataclasses.replace(SIZES, classes=5), num_heads=2)
    x, variables = init(network)
    blocks, feature = jax.jit(network.apply)(variables, x)
    np.testing.assert_array_equal(feature, blocks[-1])
    assert "norm" not in variables["params"]

    def run(network, x):
        return network.classify(network(x)[1][:, 0])

    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), x, method=run))
    assert shapes["params"]["fc_norm"]["scale"].shape == (16,)
    assert shapes["params"]["head"]["weight"].shape == (5, 16)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_front_end_with_other_bands_does_not_misalign_the_positions(kind):
    with pytest.raises(ValueError, match="positions of this network are for 8 patches"):
        init(kind(sizes=SIZES, num_heads=2), mels=64)
