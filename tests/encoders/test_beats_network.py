"""The network of BEATs stage by stage against the reference."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_beats_stages
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.beats_network import BeatsNetwork, relative_buckets
from unmute_jax.weights.beats import BeatsCheckpoints
from unmute_jax.weights.mapping import nested

ATOL, RTOL = 1e-4, 1e-4
FILES = ["beats_tiny", "beats_ft_tiny"]


@pytest.fixture(params=FILES, scope="module")
def case(request):
    file = golden.ENCODERS / request.param
    return golden.read(file.with_suffix(".npz")), load_encoder(
        "beats", file.with_suffix(".pt")
    )


def close(got, want, what):
    golden.assert_close(got, want, what, atol=ATOL, rtol=RTOL)


def prefixes(arrays):
    """Inputs of the golden file that were run without a padding mask."""
    found = [m[1] for name in arrays if (m := re.fullmatch(r"(\w)_fbank_norm", name))]
    unmasked = [p for p in found if f"{p}_token_mask" not in arrays]
    assert unmasked
    return unmasked


def test_every_stage_equals_the_reference(case):
    arrays, encoder = case
    for p in prefixes(arrays):
        check_beats_stages(encoder, arrays, p, atol=ATOL, rtol=RTOL)


def test_all_layers_are_the_block_outputs(case):
    arrays, encoder = case
    for p in prefixes(arrays):
        tokens = encoder.encode(arrays[f"{p}_fbank_norm"], all_layers=True)
        tokens = jax.device_get(tokens)
        b, l, t, f, d = tokens.layers.shape
        assert f"{p}_block{l - 1}" in arrays
        assert f"{p}_block{l}" not in arrays
        for k in range(l):
            want = arrays[f"{p}_block{k}"]
            close(tokens.layers[:, k].reshape(b, t * f, d), want, f"layer {k}")
            close(tokens.layer_cls[:, k], want.mean(1), f"mean of layer {k}")


def test_another_epsilon_would_show(case):
    arrays, encoder = case
    network = dataclasses.replace(encoder.network, epsilon=1e-6)
    wrong = dataclasses.replace(encoder, network=network)
    p = prefixes(arrays)[0]
    tokens = wrong.encode(arrays[f"{p}_fbank_norm"])
    assert np.abs(tokens.cls - arrays[f"{p}_mean"]).max() > 10 * ATOL


def test_buckets_equal_the_reference():
    table = golden.read(golden.ENCODERS / "beats_bucket_table.npz")
    options = int(table["num_buckets"]), int(table["max_distance"])
    got = relative_buckets(table["relative_position"], *options)
    np.testing.assert_array_equal(got, table["bucket"])


def test_parameters_have_the_shapes_of_the_network():
    checkpoints = BeatsCheckpoints()
    sizes = dataclasses.replace(
        checkpoints.base_sizes(32, 2, 4), hidden=24, patch_width=10, classes=5
    )
    params = nested(checkpoints.leaves(checkpoints.untrained(sizes, 0), sizes, "x"))
    x = jax.ShapeDtypeStruct((1, 32, 128), np.float32)

    def init(x):
        def both(module, x):
            return module.classify(module(x)[1].mean(1))

        network = BeatsNetwork(sizes=sizes)
        return network.init(jax.random.key(0), x, method=both)["params"]

    want = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(init, x))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == want
