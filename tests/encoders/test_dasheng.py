"""The front end of Dasheng, and the files that it reads and refuses."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.encoders.stages import check_front_end
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.dasheng_network import INPUT_EPSILON
from unmute_jax.encoders.framing import Extent
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch

# Of decibels: the largest error, and the mean error.
LIMITS = {"atol": 1e-2, "mean": 1e-4}
FILE = golden.ENCODERS / "dasheng_tiny.pt"
TINY = {"width": 16, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def front_end():
    return golden.read(golden.ENCODERS / "frontend_dasheng.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("dasheng", FILE)


@pytest.fixture
def content():
    """The content of a weights file, to be changed by a test."""
    return read_torch(FILE)


@pytest.fixture
def load_changed(content, monkeypatch):
    """Loads `content` in place of a file."""
    file = {"content": content}

    def read(path):
        del path
        return file["content"]

    def load(new=None, name="dasheng", **options):
        file["content"] = new or content
        return load_encoder(name, FILE, **options)

    monkeypatch.setattr("unmute_jax.weights.files.read_torch", read)
    return load


def test_the_front_end_equals_the_reference(front_end):
    np.testing.assert_allclose(INPUT_EPSILON, front_end["bn_eps"])
    untrained = load_encoder("dasheng", weights="untrained", **TINY)
    statistics = {
        "scale": front_end["bn_weight"],
        "bias": front_end["bn_bias"],
        "mean": front_end["bn_running_mean"],
        "var": front_end["bn_running_var"],
    }
    params = untrained.params | {"input_norm": statistics}
    encoder = dataclasses.replace(untrained, params=params)
    names = [m[1] for name in front_end if (m := re.fullmatch(r"wave_(\w+)", name))]
    assert names
    for name in names:
        wave = front_end[f"wave_{name}"][None]
        got, want = encoder.frontend(wave)[0], front_end[f"input_{name}"].T
        check_front_end(got, want, f"input_{name}", **LIMITS)


def test_the_clamp_is_that_of_the_clip_or_of_the_batch(front_end):
    wave = front_end["batch_wave"]
    alone = front_end["batch_logmel_one_by_one"].swapaxes(1, 2)
    together = front_end["batch_logmel"].swapaxes(1, 2)
    for clamp, want in {"clip": alone, "batch": together}.items():
        encoder = load_encoder("dasheng", weights="untrained", clamp=clamp, **TINY)
        # The BatchNorm that has seen nothing only divides by sqrt(1 + epsilon).
        want = want / np.sqrt(1 + INPUT_EPSILON)
        check_front_end(encoder.frontend(wave), want, f"clamp of a {clamp}", **LIMITS)


def test_tokens_that_depend_on_their_batch_have_no_identity():
    encoder = load_encoder("dasheng", weights="untrained", clamp="batch", **TINY)
    with pytest.raises(InputError, match="cannot be stored: use clamp='clip'"):
        encoder.identity()


def test_every_step_of_a_whole_clip_is_real():
    encoder = load_encoder("dasheng", weights="untrained", mask_padding=True, **TINY)
    for samples in range(1600, 1600 + 640, 160):
        steps, _ = encoder.grid(samples / 16000)
        extent = Extent(jnp.array([samples]), samples)
        assert np.asarray(encoder.step_mask(extent, (1, steps))).all()


def test_layouts_hold_the_same_encoder(content, encoder, load_changed, tmp_path):
    """The layouts are that of the fine-tuned file and that of Hugging Face."""
    tensors = content["model"]
    heads = content["config"]["num_heads"]
    flat = load_changed(dict(tensors), num_heads=heads)
    hub = {
        f"encoder.{name}": np.ascontiguousarray(tensor)
        for name, tensor in tensors.items()
        if not name.startswith("front_end")
    }
    safetensors.numpy.save_file(hub, tmp_path / "model.safetensors")
    saved = load_encoder("dasheng", tmp_path, num_heads=heads)
    for other in (flat, saved):
        jax.tree.map(np.testing.assert_array_equal, other.params, encoder.params)
        assert other.network == encoder.network


def test_logits_are_those_of_the_head_on_the_mean_token(content, load_changed):
    tensors, rng = dict(content["model"]), np.random.default_rng(0)
    d = tensors["norm.weight"].size
    scale, bias, weight, offset = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((d,), (d,), (7, d), (7,))
    )
    tensors |= {"outputlayer.0.weight": scale, "outputlayer.0.bias": bias}
    tensors |= {"outputlayer.1.weight": weight, "outputlayer.1.bias": offset}
    heads = content["config"]["num_heads"]
    encoder = load_changed(tensors, "dasheng+", num_heads=heads)
    assert "fine-tuned" in encoder.description
    tokens = encoder.encode(rng.standard_normal((2, 40, 64)).astype(np.float32))
    mean = np.asarray(tokens.patches).mean((1, 2)).astype(np.float64)
    centred = mean - mean.mean(1, keepdims=True)
    normed = centred / np.sqrt(mean.var(1, keepdims=True) + 1e-5) * scale + bias
    np.testing.assert_allclose(encoder.logits(tokens), normed @ weight.T + offset, 1e-4)


def test_the_number_of_heads_comes_from_the_size_or_the_file(content, load_changed):
    encoder = load_encoder("dasheng", weights="untrained", width=768, depth=1)
    assert encoder.network.num_heads == 12
    stated = content["config"].pop("num_heads")
    assert load_changed(num_heads=stated).network.num_heads == stated
    with pytest.raises(InputError, match="does not say how many heads"):
        load_changed()


def test_a_file_that_does_not_fit_is_refused_in_one_line(content, load_changed):
    model = content["model"]
    del model["init_bn.1.running_mean"]
    model["norm.bias"] = np.zeros(7, np.float32)
    model["cls_token"] = np.zeros(3, np.float32)
    with pytest.raises(InputError) as caught:
        load_changed()
    message = str(caught.value)
    assert "\n" not in message
    assert "missing: init_bn.1.running_mean" in message
    assert "not expected: cls_token" in message
    assert "norm.bias is [7]" in message


@pytest.mark.parametrize("name", ["spectrogram.window", "mel_scale.fb"])
def test_another_front_end_is_refused(content, load_changed, name):
    key = f"front_end.0.{name}"
    content["model"][key] = content["model"][key] + np.float32(0.01)
    with pytest.raises(InputError, match=f"{name} is of another front end"):
        load_changed()
    content["model"][key] = np.float32(np.zeros(()))[None][0:0]
    with pytest.raises(InputError, match=f"{name} is of another front end"):
        load_changed()


def test_positions_fit_pieces_of_another_length(content, load_changed):
    stored = load_changed().params["positions"]
    n = len(stored)
    content["config"]["target_length"] = 4 * (n - 12) + 3
    np.testing.assert_array_equal(load_changed().params["positions"], stored[:-12])
    content["config"]["target_length"] = 4 * 2 * n
    encoder = load_changed()
    assert encoder.network.sizes.positions == 2 * n
    fitted = encoder.params["positions"]
    # Twice as many lie a quarter of a step beside the stored ones; the ends repeat.
    np.testing.assert_allclose(fitted[0], stored[0], atol=1e-6)
    want = 0.75 * stored[1] + 0.25 * stored[0]
    np.testing.assert_allclose(fitted[2], want, atol=1e-6)
    # All of a clip that the stored positions would have cut is one piece.
    x = np.random.default_rng(0).standard_normal((1, 4 * n + 8, 64), np.float32)
    assert encoder.encode(x).patches.shape[1] == n + 2
    content["config"]["target_length"] = 3
    with pytest.raises(InputError, match="configured for pieces of 3 frames"):
        load_changed()


def test_wrong_calls_are_refused(encoder):
    with pytest.raises(InputError, match="cannot be split into 5 heads"):
        load_encoder("dasheng", FILE, num_heads=5)
    with pytest.raises(InputError, match="untrained weights only"):
        load_encoder("dasheng", FILE, depth=2)
    with pytest.raises(InputError, match="did you mean 'batch'"):
        load_encoder("dasheng", weights="untrained", clamp="batches", **TINY)
    with pytest.raises(InputError, match="at least 257 samples at 16000 Hz"):
        encoder.grid(0.01)
    with pytest.raises(InputError, match="at least 4 frames of 64 mel bands; got 3"):
        encoder.encode(np.zeros((1, 3, 64), np.float32))
    with pytest.raises(InputError, match="no classification head"):
        encoder.logits(encoder.encode(np.zeros((1, 4, 64), np.float32)))
