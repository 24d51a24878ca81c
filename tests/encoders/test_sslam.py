"""SSLAM: the network of EAT with its own weights, constants and published files."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import check_normalised, eat_stages
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError
from unmute_jax.io import CACHE_VARIABLE

ATOL, RTOL = 2e-4, 1e-4
TINY = {"width": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.ENCODERS / "sslam_tiny.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("sslam", golden.ENCODERS / "sslam_tiny_hf.safetensors")


@pytest.fixture(scope="module")
def lengths(arrays):
    names = [re.fullmatch(r"input_(\d+)", name) for name in arrays]
    return [match[1] for match in names if match]


def test_every_stage_equals_the_reference(arrays, encoder, lengths):
    assert lengths
    for length in lengths:
        x = arrays[f"input_{length}"][:, 0]
        if f"mel_raw_{length}" in arrays:
            check_normalised(encoder, arrays[f"mel_raw_{length}"], x)
        stages = eat_stages(encoder, jnp.asarray(x))
        stored = [name for name in stages if f"{name}_{length}" in arrays]
        assert "block_0" in stored
        for name in stored:
            what = f"{name}_{length}"
            golden.assert_close(stages[name], arrays[what], what, atol=ATOL, rtol=RTOL)


def test_all_layers_are_the_block_outputs(arrays, encoder, lengths):
    assert lengths
    for length in lengths:
        tokens = encoder.encode(arrays[f"input_{length}"][:, 0], all_layers=True)
        b, l, t, f, d = tokens.layers.shape
        assert f"block_{l - 1}_{length}" in arrays
        assert f"block_{l}_{length}" not in arrays
        for k in range(l):
            got = np.concatenate(
                [
                    tokens.layer_cls[:, k, None],
                    tokens.layers[:, k].reshape(b, t * f, d),
                ],
                axis=1,
            )
            want = arrays[f"block_{k}_{length}"]
            golden.assert_close(got, want, f"block {k}", atol=ATOL, rtol=RTOL)


def test_spass_has_its_own_constants():
    encoder = load_encoder("sslam", weights="untrained", recipe="spass", **TINY)
    assert (encoder.input.mean, encoder.input.std) == (-5.275, 3.268)
    assert encoder.grid(10.0) == (64, 8)
    with pytest.raises(InputError, match="recipe of encoder 'eat'"):
        load_encoder("eat", weights="untrained", recipe="spass", **TINY)


def test_its_name_and_description_are_not_those_of_eat():
    encoder = load_encoder("sslam", golden.ENCODERS / "sslam_tiny_hf.safetensors")
    sizes = encoder.network.sizes
    assert encoder.description.startswith(f"SSLAM-{sizes.width}x{sizes.depth}, pre-")
    assert encoder.identity()["name"] == "sslam"


def test_pre_trained_and_fine_tuned_weights_are_asked_for_by_name(
    monkeypatch, tmp_path
):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    folders = "https://drive.google.com/drive/folders"
    with pytest.raises(InputError, match=f"SSLAM_pretrain .*{folders}/1aA65-"):
        load_encoder("sslam")
    with pytest.raises(InputError, match=f"SSLAM_AS2M_Finetuned .*{folders}/1Yy38I"):
        load_encoder("sslam+")
