"""ASiT stage by stage: its blocks, positions, files and recipes."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.encoders.stages import (
    applied,
    block_outputs,
    check_blocks,
    check_normalised,
    lengths,
)
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights

RTOL, ATOL, RESIZED_RTOL, RESIZED_ATOL = 1e-5, 5e-5, 1e-4, 5e-4
FILE, FLAT = "asit_tiny.pt", "asit_flat_tiny.pt"
TINY = {"width": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.ENCODERS / "asit_tiny.npz")


@pytest.fixture(scope="module")
def num_heads():
    cases = json.loads((golden.ENCODERS / "cases.json").read_text())["cases"]
    return {case["weights"]: case["num_heads"] for case in cases}


@pytest.fixture(scope="module")
def encoder(num_heads):
    return load_encoder("asit", golden.ENCODERS / FILE, num_heads=num_heads[FILE])


def tolerance(length, encoder):
    stored = (encoder.network.sizes.positions - 1) * 2
    exact = int(length) == stored
    return (
        {"atol": ATOL, "rtol": RTOL}
        if exact
        else {"atol": RESIZED_ATOL, "rtol": RESIZED_RTOL}
    )


def test_every_stage_equals_the_reference_at_every_length(arrays, encoder):
    for length in lengths(arrays):
        x, limits = arrays[f"x_{length}"][:, 0], tolerance(length, encoder)
        if f"logmel_{length}" in arrays:
            check_normalised(encoder, arrays[f"logmel_{length}"], x)
        if f"embed_{length}" in arrays:
            got = applied(encoder, jnp.asarray(x), method="embed")
            name = f"embed_{length}"
            golden.assert_close(got, arrays[name], name, **limits)
        if f"block0_{length}" in arrays:
            check_blocks(encoder, x, arrays, length, **limits)


# Option -> file and names of the tables, and how near they must come.
POSITIONS = {
    "bicubic": ("asit_tiny.npz", r"pos_embed_(\d+)", 2e-5),
    "swapped": ("asit_tiny.npz", r"pos_embed_swapped_grid_(\d+)", 2e-5),
    "ast": ("asit_ast_adapt.npz", r"pos_embed_(\d+)", 1e-6),
}


@pytest.mark.parametrize("option", POSITIONS)
def test_positions_fit_other_lengths_as_in_the_reference(option, num_heads):
    file, pattern, atol = POSITIONS[option]
    arrays = golden.read(golden.ENCODERS / file)
    names = [match for name in arrays if (match := re.fullmatch(pattern, name))]
    assert names
    encoder = load_encoder(
        "asit", golden.ENCODERS / FILE, num_heads=num_heads[FILE], positions=option
    )
    table = np.asarray(encoder.params["positions"])
    for match in names:
        steps = int(match[1]) // 16
        got = applied(encoder, table[1:], steps, method="fit_positions")
        want = arrays[match[0]][0]
        cut = option == "ast" and len(want) < len(table)
        golden.assert_close(got, want[1:], match[0], atol=0 if cut else atol)
        np.testing.assert_array_equal(table[0], want[0])


def test_tokens_with_positions_as_of_ast_equal_the_reference(num_heads):
    arrays = golden.read(golden.ENCODERS / "asit_ast_adapt.npz")
    x = golden.read(golden.ENCODERS / "audiomae_tiny.npz")["x_1024"][:, 0]
    encoder = load_encoder(
        "asit", golden.ENCODERS / FILE, num_heads=num_heads[FILE], positions="ast"
    )
    found = [name for name in arrays if name.startswith("tokens_")]
    assert found
    for name in found:
        frames = name.removeprefix("tokens_")
        tokens = jax.device_get(encoder.encode(x[:, : int(frames)]))
        got = {name: tokens.patches.reshape(arrays[name].shape)}
        got[f"cls_{frames}"] = tokens.cls
        for what, values in got.items():
            limits = {"atol": RESIZED_ATOL, "rtol": RESIZED_RTOL}
            golden.assert_close(values, arrays[what], what, **limits)


def test_positions_are_part_of_the_identity():
    ways = [
        load_encoder("asit", weights="untrained", positions=p, **TINY)
        for p in POSITIONS
    ]
    assert len({json.dumps(encoder.identity()) for encoder in ways}) == len(POSITIONS)
    # As many time steps as are stored need no fitting.
    x = np.random.default_rng(0).standard_normal((1, 592, 128), np.float32)
    first, *others = [encoder.encode(x).patches for encoder in ways]
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6)
    with pytest.raises(InputError, match="did you mean 'swapped'"):
        load_encoder("asit", weights="untrained", positions="swap", **TINY)


def test_another_epsilon_would_show(arrays, encoder):
    network = dataclasses.replace(encoder.network, epsilon=1e-5)
    wrong = dataclasses.replace(encoder, network=network)
    length = str((encoder.network.sizes.positions - 1) * 2)
    x = arrays[f"x_{length}"][:, 0]
    limits = tolerance(length, encoder)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(
            block_outputs(wrong, x)[0], arrays[f"block0_{length}"], **limits
        )


def test_the_teacher_is_the_encoder(encoder, num_heads):
    flat = load_encoder("asit", golden.ENCODERS / FLAT, num_heads=num_heads[FLAT])
    jax.tree.map(np.testing.assert_array_equal, encoder.params, flat.params)
    student = read_weights(golden.ENCODERS / FILE).content["student"]
    cls = student["module.backbone.cls_token"][0, 0]
    assert np.abs(cls - encoder.params["cls"]).max() > 1e-3


def test_unknown_tensors_are_refused(tmp_path):
    teacher = read_weights(golden.ENCODERS / FLAT).content
    tensors = {k: np.ascontiguousarray(v) for k, v in teacher.items()}
    tensors["surprise"] = np.zeros(3, np.float32)
    file = tmp_path / "broken.safetensors"
    safetensors.numpy.save_file(tensors, file)
    with pytest.raises(InputError, match="not expected: surprise") as caught:
        load_encoder("asit", file, num_heads=4)
    assert "\n" not in str(caught.value)


def test_any_length_is_taken():
    encoder = load_encoder("asit", weights="untrained", target_frames=998, **TINY)
    assert encoder.grid(10.0) == (62, 8)
    tokens = encoder.encode(np.zeros((1, 16, 128), np.float32))
    assert tokens.patches.shape == (1, 1, 8, TINY["width"])
    with pytest.raises(InputError, match="at least 16 frames of 128 mel bands; got 15"):
        encoder.encode(np.zeros((1, 15, 128), np.float32))


def test_recipes_and_licence(caplog, num_heads):
    default = load_encoder("asit", weights="untrained", **TINY)
    assert default.grid(10.0) == (64, 8)
    six = load_encoder("asit", weights="untrained", recipe="pretraining", **TINY)
    assert six.grid(10.0) == (37, 8)
    assert not caplog.text
    loaded = load_encoder("asit", golden.ENCODERS / FLAT, num_heads=num_heads[FLAT])
    assert "none stated" in caplog.text
    assert "none stated" in loaded.licence
