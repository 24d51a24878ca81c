"""The network of BAT: its stages and its chunks."""

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import applied, captured
from unmute_jax.encoders import load_encoder

ATOL, RTOL = 1e-4, 1e-4
FILE = golden.MORE_ENCODERS / "bat_tiny.safetensors"


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bat", FILE)


def test_every_stage_equals_the_reference(encoder):
    arrays = golden.read(golden.MORE_ENCODERS / "bat_tiny.npz")
    lengths = [name.removeprefix("x_") for name in arrays if name.startswith("x_")]
    assert lengths
    for length in lengths:
        x = jax.numpy.asarray(arrays[f"x_{length}"][:, 0])
        stages = {"patch_embed": applied(encoder, x, method="embed_patches")}
        if int(length) <= 1024:
            got = captured(encoder, x)
            stages["pre_norm"] = got["pre_norm"]["__call__"][0]
            stages["attn0"] = got["blocks_0"]["attn"]["__call__"][0]
        tokens = encoder.encode(x, all_layers=True)
        b, l, t, f, d = tokens.layers.shape
        for k in range(l):
            stages[f"block{k}_cls"] = tokens.layer_cls[:, k]
            stages[f"block{k}_patches"] = tokens.layers[:, k].reshape(b, t * f, d)
        found = [name for name in stages if f"{name}_{length}" in arrays]
        assert len(found) >= 3
        for name in found:
            want = arrays[f"{name}_{length}"]
            golden.assert_close(stages[name], want, name, atol=ATOL, rtol=RTOL)


def test_longer_inputs_are_encoded_in_chunks_with_one_vote_each(encoder):
    x = np.random.default_rng(0).uniform(size=(1, 1024 + 336, 128)).astype(np.float32)
    whole = encoder.encode(x)
    first, second = encoder.encode(x[:, :1024]), encoder.encode(x[:, 1024:])
    patches = np.concatenate([first.patches, second.patches], axis=1)
    np.testing.assert_allclose(whole.patches, patches, atol=1e-5)
    mean = (np.asarray(first.cls) + np.asarray(second.cls)) / 2
    np.testing.assert_allclose(whole.cls, mean, atol=1e-5)
