"""EAT stage by stage: its blocks, front end, positions, files and recipes."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.encoders.stages import check_normalised, eat_stages
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.eat import EatNetwork
from unmute_jax.errors import InputError
from unmute_jax.weights.checkpoints import Sizes
from unmute_jax.weights.eat import EatCheckpoints, position_table
from unmute_jax.weights.mapping import nested

ATOL, RTOL = 2e-4, 1e-4
INPUT_ATOL = 2.5e-4
RECIPES = {None: "audioset", "esc50": "esc50", "sc2": "speech_commands"}
CONSTANTS = {
    "audioset": "norm_audioset",
    "esc50": "norm_esc50",
    "speech_commands": "norm_speechcommands_v2",
}
TINY = {"width": 16, "depth": 2, "num_heads": 2}
FILES_WITH_POSITIONS = [
    file
    for file in ("eat_tiny", "sslam_tiny")
    if "positions_exact" in golden.read(golden.ENCODERS / f"{file}.npz")
]


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.ENCODERS / "eat_tiny.npz")


@pytest.fixture(scope="module")
def front_end():
    return golden.read(golden.ENCODERS / "frontend_eat.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("eat", golden.ENCODERS / "eat_tiny.pt")


@pytest.fixture(scope="module")
def lengths(arrays):
    names = [re.fullmatch(r"input_(\d+)", name) for name in arrays]
    return [match[1] for match in names if match]


def close(got, want, what):
    golden.assert_close(got, want, what, atol=ATOL, rtol=RTOL)


def test_every_stage_equals_the_reference(arrays, encoder, lengths):
    assert lengths
    for length in lengths:
        stages = eat_stages(encoder, jnp.asarray(arrays[f"input_{length}"][:, 0]))
        for name, got in stages.items():
            close(got, arrays[f"{name}_{length}"], f"{name}_{length}")


def test_all_layers_are_the_block_outputs(arrays, encoder, lengths):
    for length in lengths:
        tokens = encoder.encode(arrays[f"input_{length}"][:, 0], all_layers=True)
        b, l, t, f, d = tokens.layers.shape
        assert l == encoder.network.sizes.depth
        for k in range(l):
            want = arrays[f"block_{k}_{length}"]
            close(tokens.layers[:, k].reshape(b, t * f, d), want[:, 1:], f"layer {k}")
            close(tokens.layer_cls[:, k], want[:, 0], f"cls of layer {k}")


def test_another_epsilon_would_show(arrays, encoder, lengths):
    network = dataclasses.replace(encoder.network, epsilon=1e-5)
    wrong = dataclasses.replace(encoder, network=network)
    tokens = wrong.encode(arrays[f"input_{lengths[0]}"][:, 0])
    assert np.abs(tokens.cls - arrays[f"cls_{lengths[0]}"]).max() > 10 * ATOL


def test_the_front_end_pads_before_it_normalises(arrays, lengths):
    encoder = load_encoder("eat", weights="untrained", **TINY)
    raw = [length for length in lengths if f"mel_raw_{length}" in arrays]
    assert raw
    for length in raw:
        want = arrays[f"input_{length}"][:, 0]
        check_normalised(encoder, arrays[f"mel_raw_{length}"], want)
    padded = encoder.frontend(np.zeros((1, 400), np.float32))[0, -1]
    np.testing.assert_allclose(padded, 0.467061, atol=1e-6)


def test_network_inputs_equal_the_reference(front_end):
    names = [re.fullmatch(r"input_(\w+?)_(\d+)(?:_(\w+))?", name) for name in front_end]
    found = [match for match in names if match]
    assert found
    for match in found:
        encoder = load_encoder(
            "eat",
            weights="untrained",
            width=16,
            depth=1,
            num_heads=1,
            recipe=RECIPES[match[3]],
            target_frames=int(match[2]),
        )
        got = encoder.frontend(front_end[f"wav_{match[1]}"][None])[0]
        golden.assert_close(got, front_end[match[0]], match[0], atol=INPUT_ATOL)


def test_recipes_hold_the_constants_of_the_reference(front_end):
    for recipe, name in CONSTANTS.items():
        encoder = load_encoder(
            "eat", weights="untrained", width=16, depth=1, num_heads=1, recipe=recipe
        )
        got = (encoder.input.mean, encoder.input.std)
        np.testing.assert_allclose(got, front_end[name], rtol=1e-6)


@pytest.mark.parametrize("file", FILES_WITH_POSITIONS)
def test_stored_positions_are_used_and_ours_are_the_exact_ones(file):
    arrays = golden.read(golden.ENCODERS / f"{file}.npz")
    encoder = load_encoder(
        file.partition("_")[0], golden.ENCODERS / f"{file}_hf.safetensors"
    )
    stored, exact = arrays["positions_stored"][0], arrays["positions_exact"][0]
    np.testing.assert_array_equal(encoder.params["positions"], stored)
    # The reference rounds the angles to float32 before it takes their sines.
    atol = np.spacing(np.float32(len(exact) / 8))
    np.testing.assert_allclose(position_table(*exact.shape), exact, atol=atol)
    assert np.abs(stored - exact).max() > 1e-4


def test_parameters_have_the_shapes_of_the_network():
    sizes = Sizes(width=16, depth=2, hidden=24, positions=64, classes=5)
    weights = EatCheckpoints()
    params = nested(weights.leaves(weights.untrained(sizes, 0), sizes, "untrained"))
    network = EatNetwork(sizes=sizes, num_heads=2)
    x = jax.ShapeDtypeStruct((1, 32, 128), np.float32)

    def init(x):
        def both(module, x):
            return module.classify(module(x)[1][:, 0])

        return network.init(jax.random.key(0), x, method=both)["params"]

    want = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(init, x))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == want


def test_the_teacher_is_not_read(encoder):
    student = load_encoder("eat", golden.ENCODERS / "eat_tiny_hf.safetensors")
    jax.tree.map(np.testing.assert_array_equal, encoder.params, student.params)


def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path):
    file = golden.ENCODERS / "eat_tiny_hf.safetensors"
    tensors = safetensors.numpy.load_file(file)
    del tensors["model.blocks.1.norm1.weight"]
    wide = tensors["model.blocks.0.attn.qkv.bias"].size
    tensors["model.blocks.0.attn.qkv.bias"] = np.zeros(7, np.float32)
    tensors["model.blocks.0.mlp.fc2.bias"] = np.zeros(wide // 3, np.int32)
    tensors["model.surprise"] = np.zeros(3, np.float32)
    broken = tmp_path / "broken.safetensors"
    safetensors.numpy.save_file(tensors, broken)
    with pytest.raises(InputError) as caught:
        load_encoder("eat", broken, num_heads=4)
    message = str(caught.value)
    assert "\n" not in message
    assert "broken.safetensors does not fit" in message
    assert "missing: blocks.1.norm1.weight" in message
    assert "not expected: surprise" in message
    assert f"blocks.0.attn.qkv.bias is [7], not [{wide}]" in message
    assert "blocks.0.mlp.fc2.bias is int32" in message


def test_half_precision_files_load(tmp_path):
    file = golden.ENCODERS / "eat_tiny_hf.safetensors"
    tensors = safetensors.numpy.load_file(file)
    halves = {k: v.astype(np.float16) for k, v in tensors.items()}
    safetensors.numpy.save_file(halves, tmp_path / "model.safetensors")
    encoder = load_encoder("eat", tmp_path, num_heads=4)
    leaves = jax.tree.leaves(encoder.params)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


def test_wrong_calls_are_refused(encoder):
    with pytest.raises(InputError, match=r"width \d+ cannot be split into 5 heads"):
        load_encoder("eat", golden.ENCODERS / "eat_tiny.pt", num_heads=5)
    with pytest.raises(InputError, match="untrained weights only"):
        load_encoder("eat", golden.ENCODERS / "eat_tiny.pt", width=48)
    with pytest.raises(InputError, match="did you mean 'esc50'"):
        load_encoder("eat", weights="untrained", recipe="esc-50", **TINY)
    too_long = encoder.network.sizes.positions // 8 * 16 + 16
    with pytest.raises(InputError, match=f"got {too_long} of 128"):
        encoder.encode(np.zeros((1, too_long, 128), np.float32))
    with pytest.raises(InputError, match="no classification head"):
        encoder.logits(encoder.encode(np.zeros((1, 16, 128), np.float32)))
    with pytest.raises(InputError, match="target_frames must be at least 16, not 8"):
        load_encoder("eat", weights="untrained", target_frames=8, **TINY)


def test_recipes_and_overrides_set_the_input():
    five = load_encoder("eat", weights="untrained", recipe="esc50", mean=-5.0, **TINY)
    assert five.grid(10.0) == (32, 8)
    assert five.input_samples(1.0) == 160 * 511 + 400
    assert (five.input.mean, five.input.std) == (-5.0, 5.359)
