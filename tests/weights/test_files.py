"""Weights files of either container."""

import hashlib

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights


def test_the_hash_is_of_the_bytes():
    file = golden.ENCODERS / "eat_tiny.pt"
    want = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_weights(file).sha256 == want


def test_safetensors_come_with_the_config_beside_them(tmp_path):
    tensors = {
        "half": np.arange(3, dtype=np.float16),
        "brain": np.arange(3, dtype=ml_dtypes.bfloat16),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    assert read_weights(tmp_path).content["config"] == {}
    (tmp_path / "config.json").write_text('{"num_heads": 4}')
    content = read_weights(tmp_path).content
    assert content["config"] == {"num_heads": 4}
    for name, want in tensors.items():
        assert content["model"][name].dtype == want.dtype
        np.testing.assert_array_equal(content["model"][name], want)


def test_the_content_decides_not_the_suffix(tmp_path):
    file = tmp_path / "weights.pt"
    safetensors.numpy.save_file({"x": np.ones(2)}, file)
    assert list(read_weights(file).content["model"]) == ["x"]


@pytest.mark.parametrize("size", [0, 4, 12, 40])
def test_a_cut_safetensors_file_is_refused(size, tmp_path):
    file = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"x": np.ones(20)}, file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match="truncated or no safetensors"):
        read_weights(tmp_path)


def test_a_broken_config_is_refused(tmp_path):
    safetensors.numpy.save_file({"x": np.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is no JSON object"):
        read_weights(tmp_path)
