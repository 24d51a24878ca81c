import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.inference.one_bit_probes import D, random_tokens, trained
from tests.store.fakes import fake_encoder
from unmute_jax.inference import one_bit
from unmute_jax.inference.export import export_probe
from unmute_jax.store.key import as_json


def test_float32_tokens_and_single_labels(tmp_path):
    probe = trained(dtype="float32", task="single-label")
    export_probe(probe, tmp_path / "a.safetensors")
    device, tokens = one_bit.load(tmp_path / "a.safetensors"), random_tokens()
    scores = device(tokens.patches[3].reshape(-1, D))
    want = jax.nn.softmax(probe.logits(tokens)[3])
    np.testing.assert_allclose(scores, want, atol=1e-3)
    assert scores.sum() == pytest.approx(1)


def test_the_reader_needs_numpy_alone(tmp_path):
    export_probe(trained(), tmp_path / "p.safetensors")
    copied = tmp_path / "one_bit.py"
    copied.write_bytes(pathlib.Path(one_bit.__file__).read_bytes())
    program = (
        "import sys, numpy, one_bit\n"
        "probe = one_bit.load('p.safetensors')\n"
        f"print(probe(numpy.ones((6, {D}), 'float32')).shape)\n"
        "print({'jax', 'flax', 'unmute_jax', 'safetensors'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["(3,)", "set()"], done.stderr


def test_an_encoder_is_compared_before_use(tmp_path):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    other = as_json(fake_encoder(weights="other").identity())
    with pytest.raises(ValueError, match="weights was 'untrained, seed 0', and is 'ot"):
        one_bit.load(path, other)
    probe = one_bit.load(path, as_json(fake_encoder().identity()))
    with pytest.raises(ValueError, match=r"must be \[T, F, 19\] or \[N, 19\], not"):
        probe(np.ones((6, 20), np.float32))


@pytest.mark.parametrize("size", [3, 100, -1])
def test_a_damaged_file_is_named(tmp_path, size):
    path = tmp_path / "p.safetensors"
    export_probe(trained(), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="is no one-bit probe, or is cut short"):
        one_bit.load(path)
