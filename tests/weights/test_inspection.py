"""What a person is told about a weights file."""

import numpy as np
import safetensors.numpy

from tests import golden
from unmute_jax.encoders import with_weights
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.inspection import describe_file, describe_weights
from unmute_jax.weights.loading import from_file

EAT = golden.ENCODERS / "eat_tiny.pt"
ORIGIN = with_weights("eat").ORIGIN


def test_a_file_is_described_with_the_encoders_that_it_fits():
    file = read_weights(EAT)
    origins = [ORIGIN, with_weights("beats").ORIGIN]
    lines = "\n".join(describe_file(file, origins)).splitlines()
    size = f"{EAT.stat().st_size:,} bytes"
    assert lines[0] == f"{EAT}: a file of torch.save, {size}, SHA-256 {file.sha256}"
    assert "  model.blocks.#.attn.qkv.weight: [144, 48] float32, 3 times" in lines
    assert any(line.startswith("fits EAT-48x3, pre-trained") for line in lines)
    assert any(line.startswith("does not fit BEATs: ") for line in lines)


def test_names_in_a_file_cannot_break_the_lines(tmp_path):
    file = tmp_path / "x.safetensors"
    tensors = {f"a\n\x1b[31m{chr(65 + i)}": np.zeros(i) for i in range(3)}
    safetensors.numpy.save_file(tensors, file, {"key\n": "value\n" * 1000})
    lines = list(describe_file(read_weights(file), [ORIGIN]))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 400


def test_a_file_of_many_kinds_of_tensors_is_cut(tmp_path):
    file = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({f"x{i}": np.zeros(i) for i in range(120)}, file)
    lines = list(describe_file(read_weights(file), []))
    assert "tensors: 120 (# stands for a number)" in lines
    assert lines[-1] == "  ... and 20 other kinds"


def test_weights_are_described_with_what_is_not_used():
    weights = from_file(ORIGIN, read_weights(EAT))
    lines = list(describe_weights(ORIGIN, weights))
    count = sum(x.size for _, x in weights.leaves())
    assert lines[0] == f"{weights.description}; 4 heads; {count:,} parameters"
    assert f"  layout: fairseq; {weights.used} tensors used" in lines
    assert any("teacher of the pre-training" in line for line in lines)
    assert "  licence of the weights: MIT" in lines
