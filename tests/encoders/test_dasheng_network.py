"""The network of Dasheng stage by stage against the reference."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import applied, captured
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.dasheng_network import DashengNetwork
from unmute_jax.weights.dasheng import DashengCheckpoints, Sizes
from unmute_jax.weights.mapping import nested

ATOL, RTOL = 1e-4, 1e-4
FILE = golden.ENCODERS / "dasheng_tiny.pt"


@pytest.fixture(scope="module")
def arrays():
    return golden.read(FILE.with_suffix(".npz"))


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("dasheng", FILE)


def close(got, want, what):
    golden.assert_close(got, want, what, atol=ATOL, rtol=RTOL)


def inputs(arrays):
    """(prefix, network input) of every input of the golden file."""
    found = [m[1] for name in arrays if (m := re.fullmatch(r"(\w)_bn", name))]
    assert found
    return [(p, jnp.asarray(arrays[f"{p}_bn"].swapaxes(1, 2))) for p in found]


def test_every_stage_equals_the_reference(arrays, encoder):
    for p, x in inputs(arrays):
        close(
            applied(encoder, x, method="embed"),
            arrays[f"{p}_enc_in"],
            f"{p}_enc_in",
        )
        stages = captured(encoder, x)
        if f"{p}_patch" in arrays:
            close(
                stages["patch_embed"]["__call__"][0], arrays[f"{p}_patch"], f"{p}_patch"
            )
        if f"{p}_attn0" in arrays:
            close(
                stages["blocks_0"]["attn"]["__call__"][0],
                arrays[f"{p}_attn0"],
                f"{p}_attn0",
            )
        # One call for all whole pieces, one for the rest.
        pieces = int(arrays[f"{p}_n_chunks"])
        assert len(stages["norm"]["__call__"]) == min(pieces, 2)


def test_normalised_decibels_and_pieces_equal_the_reference(arrays, encoder):
    for p in [name[0] for name in arrays if re.fullmatch(r"\w_logmel", name)]:
        decibels = jnp.asarray(arrays[f"{p}_logmel"].swapaxes(1, 2))
        x = applied(encoder, decibels, method="normalise")
        if f"{p}_bn" in arrays:
            close(x, arrays[f"{p}_bn"].swapaxes(1, 2), f"{p}_bn")
        calls = captured(encoder, x)["norm"]["__call__"]
        # One call for all whole pieces, one for the rest.
        assert len(calls) == min(int(arrays[f"{p}_n_chunks"]), 2)


def test_all_layers_are_the_block_outputs_before_the_norm(arrays, encoder):
    for p, x in inputs(arrays):
        tokens = encoder.encode(x, all_layers=True)
        _, l, _, f, _ = tokens.layers.shape
        assert f == 1
        assert f"{p}_block{l - 1}" in arrays
        assert f"{p}_block{l}" not in arrays
        for k in range(l):
            want = arrays[f"{p}_block{k}"]
            close(tokens.layers[:, k, :, 0], want, f"layer {k}")
            close(tokens.layer_cls[:, k], want.mean(1), f"mean of layer {k}")


def test_another_epsilon_would_show(arrays, encoder):
    network = dataclasses.replace(encoder.network, epsilon=1e-5)
    wrong = dataclasses.replace(encoder, network=network)
    p, x = inputs(arrays)[0]
    error = wrong.encode(x).patches[:, :, 0] - arrays[f"{p}_tokens"]
    assert np.abs(error).max() > 5 * ATOL


def test_pieces_are_encoded_on_their_own(encoder):
    size = 5
    sizes = dataclasses.replace(encoder.network.sizes, positions=size)
    short = dataclasses.replace(
        encoder,
        network=dataclasses.replace(encoder.network, sizes=sizes),
        params=encoder.params | {"positions": encoder.params["positions"][:size]},
    )
    frames = 4 * size
    x = np.random.default_rng(0).standard_normal((2, 2 * frames + 10, 64), np.float32)
    together = short.encode(x, all_layers=True)
    cuts = [x[:, :frames], x[:, frames : 2 * frames], x[:, 2 * frames :]]
    # The network with all its positions has no reason to cut these.
    apart = [encoder.encode(cut, all_layers=True) for cut in cuts]
    steps = np.concatenate([tokens.patches for tokens in apart], axis=1)
    layers = np.concatenate([tokens.layers for tokens in apart], axis=2)
    np.testing.assert_allclose(together.patches, steps, atol=1e-5)
    np.testing.assert_allclose(together.layers, layers, atol=1e-5)
    whole = short.encode(x[:, : 2 * frames]).patches
    np.testing.assert_allclose(whole, steps[:, : 2 * size], atol=1e-5)


def test_parameters_have_the_shapes_of_the_network():
    checkpoints = DashengCheckpoints()
    sizes = Sizes(width=16, depth=2, hidden=24, positions=6, classes=5)
    tensors = checkpoints.untrained(sizes, 0)
    params = nested(checkpoints.leaves(tensors, sizes, "untrained"))
    x = jax.ShapeDtypeStruct((1, 32, 64), np.float32)

    def init(x):
        def both(module, x):
            return module.classify(module(module.normalise(x))[1].mean(1))

        network = DashengNetwork(sizes=sizes, num_heads=2)
        return network.init(jax.random.key(0), x, method=both)["params"]

    want = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(init, x))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == want
