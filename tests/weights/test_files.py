"""Weights files of either container."""

import contextlib
import hashlib
import json
import os
import struct

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.weights.torch_files import tensor, torch_zip
from unmute_jax.encoders import convert, load_encoder, with_weights
from unmute_jax.errors import InputError
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.loading import from_file


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


def test_names_of_a_file_cannot_break_the_line(tmp_path, refused):
    name = "evil\n\x1b[31m\r" + "x" * 5000
    content = {"model": {name: tensor(0, (4,), (1,))}}
    file = torch_zip(tmp_path / "weights.pt", content, bytes(16))
    refused(file, "evil", load=lambda file: load_encoder("eat", file))
    file = torch_zip(tmp_path / "weights.pt", {name: 1})
    refused(file, "holds no weights", load=lambda file: load_encoder("eat", file))
    file.write_bytes(b"")
    safetensors.numpy.save_file({name: np.zeros(3)}, tmp_path / "x.safetensors")
    refused(
        tmp_path / "x.safetensors", "evil", load=lambda file: load_encoder("eat", file)
    )


def header(tmp_path, about, data=b"", length=None):
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    size = struct.pack("<Q", len(text) if length is None else length)
    file = tmp_path / "x.safetensors"
    file.write_bytes(size + text + data)
    return file


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "about",
    [
        {"x": entry(0, 16, [4]), "y": entry(8, 24, [4])},
        {"x": entry(0, 8, [2]), "y": entry(16, 24, [2])},
        {"x": entry(0, 24, [7])},
        {"x": entry(0, 24, [1 << 62, 1 << 62])},
        {"x": entry(0, 24, [-6])},
        {"x": entry(24, 0, [6])},
        {"x": entry(0, 24, [1] * 64 + [6])},
        {"x": entry(0, 24, [1] * 100_000 + [6])},
        {"x": entry(0, 0, [0, 1 << 62, 1 << 62]), "y": entry(0, 24, [6])},
        {"x": entry(0, 24, [6], "OBJECT")},
        {"x": entry(0, 24, [3], "C64")},
        {"x": entry(0, 24, "six")},
        {"x": 1},
        {"__metadata__": {"a": 1}, "x": entry(0, 24, [6])},
        [1, 2],
        b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
        b"{\xff}",
        b"",
    ],
)
def test_headers_that_lie_are_refused(about, tmp_path, refused):
    refused(
        header(tmp_path, about, bytes(24)),
        "no safetensors file|not supported|impossible",
    )


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**8, 2**24 + 1, 3, 0])
def test_headers_of_any_length_take_no_room(length, tmp_path, refused):
    file = header(tmp_path, b"{" + b" " * 30, length=length)
    refused(file, "no safetensors file")


@pytest.mark.parametrize(
    "config", [b"[" * 100_000, b"{" + b" " * (1 << 21), b"3", b"\xff"]
)
def test_a_hostile_config_is_refused(config, tmp_path):
    safetensors.numpy.save_file({"x": np.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(config)
    with pytest.raises(InputError, match=r"config\.json is no JSON object"):
        read_weights(tmp_path)


@pytest.mark.parametrize("kind", ["pt", "safetensors", "converted"])
def test_a_loaded_encoder_does_not_follow_its_file(kind, tmp_path):
    path = tmp_path / "eat.safetensors"
    if kind == "converted":
        convert(with_weights("eat"), golden.ENCODERS / "eat_tiny.pt", path)
    else:
        name = {"pt": "eat_tiny.pt", "safetensors": "eat_tiny_ft_hf.safetensors"}[kind]
        path = tmp_path / name
        path.write_bytes((golden.ENCODERS / name).read_bytes())
    params = load_encoder("eat", path, num_heads=4).params
    before = jax.tree.map(np.array, params)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(path.stat().st_size // 2))
    jax.tree.map(np.testing.assert_array_equal, params, before)


@pytest.mark.parametrize("name", ["eat_tiny.pt", "eat_tiny_ft_hf.safetensors"])
def test_a_file_that_changes_while_it_is_read_is_refused(name, tmp_path):
    path = tmp_path / name
    path.write_bytes((golden.ENCODERS / name).read_bytes())
    weights = from_file(with_weights("eat").ORIGIN, read_weights(path), 4)
    assert weights.params
    os.utime(path, ns=(0, 0))
    with pytest.raises(InputError, match="was changed while it was read: try again"):
        _ = weights.params


def test_what_is_no_regular_file_is_refused(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "there is no weights file")
    (tmp_path / "folder.pt").mkdir()
    refused(tmp_path / "folder.pt", "there is no weights file")


SPOILT = [
    *sorted(golden.TORCH_FILES.glob("*.pt")),
    golden.ENCODERS / "eat_tiny_ft_hf.safetensors",
]


@pytest.mark.parametrize("file", SPOILT, ids=lambda file: file.name)
def test_spoilt_files_give_a_value_or_one_line(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    whole = np.frombuffer(file.read_bytes(), np.uint8)[:12_000]
    # Most of a file are numbers: what tells of them is hit more often.
    weights = np.where(whole == 0, 1.0, 5.0)
    for kind in range(150):
        content = whole.copy()
        places = rng.choice(len(content), rng.integers(1, 9), p=weights / weights.sum())
        content[places] = rng.integers(0, 256, len(places), dtype=np.uint8)
        if kind % 3 == 0:
            cut = rng.integers(len(content))
            content = np.concatenate([content[:cut], content[cut + kind % 7 :]])
        spoilt = tmp_path / f"spoilt{file.suffix}"
        spoilt.write_bytes(content.tobytes())
        with contextlib.suppress(InputError):
            read_weights(spoilt)
    assert [found.name for found in tmp_path.iterdir()] == [spoilt.name]
