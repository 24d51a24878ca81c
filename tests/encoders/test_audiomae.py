"""AudioMAE stage by stage: its blocks, positions, files and recipes."""

import dataclasses
import json
import re

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
from unmute_jax.weights.audiomae import position_table
from unmute_jax.weights.files import read_weights

TOLERANCE = {"atol": 5e-5, "rtol": 1e-5}
PRETRAINED = golden.ENCODERS / "audiomae_tiny.pt"
FINETUNED = golden.ENCODERS / "audiomae_ft_tiny.pt"
TINY = {"width": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.ENCODERS / "audiomae_tiny.npz")


@pytest.fixture(scope="module")
def num_heads():
    cases = json.loads((golden.ENCODERS / "cases.json").read_text())["cases"]
    return {case["weights"]: case["num_heads"] for case in cases}


@pytest.fixture(scope="module")
def encoder(num_heads):
    return load_encoder("audiomae", PRETRAINED, num_heads=num_heads[PRETRAINED.name])


@pytest.fixture(scope="module")
def finetuned(num_heads):
    return load_encoder("audiomae+", FINETUNED, num_heads=num_heads[FINETUNED.name])


def test_every_stage_equals_the_reference_at_every_length(arrays, encoder):
    for length in lengths(arrays):
        x = arrays[f"x_{length}"][:, 0]
        if f"logmel_{length}" in arrays:
            check_normalised(encoder, arrays[f"logmel_{length}"], x)
        if f"contextual_{length}" in arrays:
            # The mean of all blocks but the first, each after the last norm.
            later = [
                applied(encoder, block, method="finish")
                for block in block_outputs(encoder, x)[1:]
            ]
            name = f"contextual_{length}"
            golden.assert_close(np.mean(later, 0), arrays[name], name, **TOLERANCE)
        if f"embed_{length}" in arrays:
            got = applied(encoder, jnp.asarray(x), method="embed")
            name = f"embed_{length}"
            golden.assert_close(got, arrays[name], name, **TOLERANCE)
        if f"block0_{length}" in arrays:
            check_blocks(encoder, x, arrays, length, **TOLERANCE)
        tokens = encoder.encode(x)
        b, t, f, d = tokens.patches.shape
        patches = tokens.patches.reshape(b, t * f, d)
        for got, name in ((patches, f"tokens_{length}"), (tokens.cls, f"cls_{length}")):
            golden.assert_close(got, arrays[name], name, **TOLERANCE)


def test_the_position_table_is_cut_as_in_the_reference(arrays, encoder):
    names = [m for m in (re.fullmatch(r"pos_embed_(\d+)", n) for n in arrays) if m]
    assert names
    variables = {"params": encoder.params}
    table = jnp.asarray(encoder.params["positions"])
    for match in names:
        got = encoder.network.apply(
            variables, table[1:], int(match[1]) // 16, method="fit_positions"
        )
        np.testing.assert_array_equal(got, arrays[match[0]][0, 1:])
        np.testing.assert_array_equal(table[0], arrays[match[0]][0, 0])


def test_fine_tuned_tokens_are_those_of_the_last_block(arrays, finetuned):
    want = golden.read(golden.ENCODERS / "audiomae_ft_tiny.npz")
    for length in lengths(arrays):
        if f"logits_{length}" not in want:
            continue
        x = arrays[f"x_{length}"][:, 0]
        check_blocks(finetuned, x, want, length, **TOLERANCE)
        tokens = finetuned.encode(x, all_layers=True)
        np.testing.assert_array_equal(tokens.patches, tokens.layers[:, -1])
        np.testing.assert_array_equal(tokens.cls, tokens.layer_cls[:, -1])


def test_another_epsilon_would_show(arrays, encoder):
    network = dataclasses.replace(encoder.network, epsilon=1e-5)
    wrong = dataclasses.replace(encoder, network=network)
    length = max(lengths(arrays), key=int)
    x = arrays[f"x_{length}"][:, 0]
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(
            block_outputs(wrong, x)[-1], arrays[f"block2_{length}"], **TOLERANCE
        )


def test_untrained_positions_are_those_of_the_reference(encoder):
    # The golden table is the published one, slightly perturbed.
    stored = np.asarray(encoder.params["positions"])[1:]
    ours = position_table(*stored.shape)
    turned = position_table(*stored.shape).reshape(-1, 8, stored.shape[1])
    turned = turned.swapaxes(0, 1).reshape(stored.shape)
    assert np.abs(ours - stored).mean() < 0.1
    assert np.abs(turned - stored).mean() > 0.3


def test_files_that_do_not_fit_are_refused_in_one_line(tmp_path):
    tensors = dict(read_weights(PRETRAINED).content["model"])
    file = tmp_path / "broken.safetensors"

    def refusal(**changes):
        changed = {k: v for k, v in (tensors | changes).items() if v is not None}
        safetensors.numpy.save_file(
            {k: np.ascontiguousarray(v) for k, v in changed.items()}, file
        )
        with pytest.raises(InputError) as caught:
            load_encoder("audiomae", file, num_heads=4)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    rows = tensors["pos_embed"].shape[1]
    odd = refusal(surprise=np.zeros(3, np.float32), **{"norm.bias": None})
    assert "missing: norm.bias" in odd
    assert "not expected: surprise" in odd
    assert f"pos_embed has {rows - 1} rows, not 1 + 8 n" in refusal(
        pos_embed=tensors["pos_embed"][:, 1:]
    )
    assert "tensor cls_token is missing" in refusal(cls_token=None)


def test_wrong_calls_are_refused(encoder):
    rows = encoder.network.sizes.positions - 1
    with pytest.raises(InputError, match=f"got {rows * 2 + 16} of 128"):
        encoder.encode(np.zeros((1, rows * 2 + 16, 128), np.float32))
    tokens = encoder.encode(np.zeros((1, 16, 128), np.float32))
    with pytest.raises(InputError, match="no classification head"):
        encoder.logits(tokens)


def test_the_licence_is_shown_on_load(caplog, num_heads):
    loaded = load_encoder("audiomae", PRETRAINED, num_heads=num_heads[PRETRAINED.name])
    assert "non-commercial" in loaded.licence
    assert f"{loaded.description}; licence of the weights: CC BY-NC 4.0" in caplog.text
    caplog.clear()
    load_encoder("audiomae", weights="untrained", **TINY)
    assert not caplog.text


def test_five_seconds_are_an_option():
    five = load_encoder("audiomae", weights="untrained", recipe="esc50", **TINY)
    assert five.grid(5.0) == (32, 8)
    assert load_encoder("audiomae", weights="untrained", **TINY).grid(5.0) == (64, 8)
