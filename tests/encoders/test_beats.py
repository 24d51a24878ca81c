"""The front end of BEATs, and the files that it reads and refuses."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.encoders.stages import check_filters, check_front_end
from unmute_jax.audio.kaldi import ENERGY_FLOOR, kaldi_fbank
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.beats import MEAN, SCALE, STD, BeatsEncoder
from unmute_jax.errors import InputError
from unmute_jax.weights.torch_file import read_torch

FILES = ["beats_tiny", "beats_ft_tiny"]
TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


@pytest.fixture
def content():
    """The content of a weights file, to be changed by a test."""
    return read_torch(golden.ENCODERS / "beats_tiny.pt")


@pytest.fixture
def load_changed(content, monkeypatch):
    """Loads `content` in place of a file."""

    def read(path):
        del path
        return content

    monkeypatch.setattr("unmute_jax.weights.files.read_torch", read)
    return lambda: load_encoder("beats", golden.ENCODERS / "beats_tiny.pt")


def test_the_front_end_equals_the_reference():
    arrays = golden.read(golden.ENCODERS / "frontend_beats.npz")
    np.testing.assert_allclose((MEAN, STD), (arrays["mean"], arrays["std"]))
    check_filters(BeatsEncoder.filters, arrays["mel_bank"], arrays["window"])
    encoder = load_encoder("beats", weights="untrained", width=16, depth=1, num_heads=1)
    names = [name.removeprefix("wave_") for name in arrays if "wave_" in name]
    assert names
    compiled = jax.jit(kaldi_fbank, static_argnums=1)
    for name in names:
        wave, want = arrays[f"wave_{name}"][None], arrays[f"fbank_{name}"]
        got = np.asarray(compiled(SCALE * wave, BeatsEncoder.filters))[0]
        check_errors(got, want, f"fbank_{name}")
        # Digital silence and the band without a bin are exactly at the floor.
        floor = want == want.min()
        assert floor.any()
        np.testing.assert_array_equal(got[floor], np.float32(np.log(ENERGY_FLOOR)))
        got, want = encoder.frontend(wave)[0], arrays[f"input_{name}"]
        check_errors(got, want, f"input_{name}", 2 * STD)


@pytest.mark.parametrize("file", FILES)
def test_log_mels_before_normalising_equal_the_reference(file):
    arrays = golden.read(golden.ENCODERS / f"{file}.npz")
    encoder = load_encoder("beats", golden.ENCODERS / f"{file}.pt")
    got = np.asarray(encoder.frontend(arrays["a_wave"][None]))
    if "a_fbank_raw" in arrays:
        raw = got * 2 * STD + MEAN
        check_errors(raw, arrays["a_fbank_raw"], "a_fbank_raw")
    check_errors(got, arrays["a_fbank_norm"], "a_fbank_norm", 2 * STD)


def check_errors(got, want, what, divisor=1.0):
    check_front_end(got, want, what, atol=0.1 / divisor, mean=1e-4 / divisor)
    assert np.quantile(np.abs(np.asarray(got) - want), 0.999) <= 2e-3 / divisor


def test_masked_steps_do_not_enter_the_mean():
    options = {"width": 32, "depth": 1, "num_heads": 2, "mask_padding": True}
    encoder = load_encoder("beats", weights="untrained", **options)
    clip = np.random.default_rng(0).standard_normal((1, 32000), np.float32) / 10
    tokens = encoder(clip, [16000])
    steps = np.asarray(tokens.mask)[0]
    assert steps.sum() == 7
    want = np.asarray(tokens.patches)[:, steps].mean((1, 2))
    np.testing.assert_allclose(tokens.cls, want, atol=1e-5)


def test_files_saved_again_load_the_same(content, tmp_path):
    want = load_encoder("beats", golden.ENCODERS / "beats_tiny.pt")
    tensors = {k: np.ascontiguousarray(v) for k, v in content["model"].items()}
    conv = "encoder.pos_conv.0"
    for k, part in enumerate("gv"):
        newer = f"{conv}.parametrizations.weight.original{k}"
        tensors[newer] = tensors.pop(f"{conv}.weight_{part}")
    del tensors[TABLE.format(1)]
    safetensors.numpy.save_file(tensors, tmp_path / "model.safetensors")
    got = load_encoder("beats", tmp_path)
    jax.tree.map(np.testing.assert_array_equal, got.params, want.params)
    assert got.network == want.network


def test_another_network_is_refused(content, load_changed):
    depth = content["cfg"]["encoder_layers"]
    content["cfg"] |= {"deep_norm": False, "encoder_layers": depth + 1}
    del content["cfg"]["gru_rel_pos"]
    with pytest.raises(InputError) as caught:
        load_changed()
    message = str(caught.value)
    assert "\n" not in message
    assert "deep_norm False, not True" in message
    assert f"encoder_layers {depth + 1}, not {depth}" in message
    assert "gru_rel_pos False, not True" in message


def test_the_farthest_distance_is_that_of_the_file(content, load_changed):
    stated = content["cfg"]["max_distance"]
    assert load_changed().network.sizes.max_distance == stated
    del content["cfg"]["max_distance"]
    assert load_changed().network.sizes.max_distance == 1280


def test_tables_that_are_not_tied_are_refused(content, load_changed):
    table = content["model"][TABLE.format(0)]
    content["model"][TABLE.format(1)] = table + np.float32(1e-3)
    with pytest.raises(InputError, match=r"layers\.1\.self_attn\.relative.* as tied"):
        load_changed()


def test_a_file_that_does_not_fit_is_refused_in_one_line(content, load_changed):
    model = content["model"]
    del model["encoder.layers.0.self_attn.grep_linear.bias"]
    width = len(model["layer_norm.bias"])
    model["layer_norm.bias"] = np.zeros(7, np.float32)
    model["surprise"] = np.zeros(3, np.float32)
    with pytest.raises(InputError) as caught:
        load_changed()
    message = str(caught.value)
    assert "\n" not in message
    assert "missing: encoder.layers.0.self_attn.grep_linear.bias" in message
    assert "not expected: surprise" in message
    assert f"layer_norm.bias is [7], not [{width}]" in message
    del model["post_extract_proj.weight"]
    with pytest.raises(InputError, match=r"post_extract_proj\.weight is missing"):
        load_changed()


def test_wrong_calls_are_refused():
    file = golden.ENCODERS / "beats_tiny.pt"
    with pytest.raises(InputError, match=r"has \d+ heads, not 7"):
        load_encoder("beats", file, num_heads=7)
    with pytest.raises(InputError, match="untrained weights only"):
        load_encoder("beats", file, width=32)
    with pytest.raises(InputError, match="40 cannot be split into 16 groups"):
        load_encoder("beats", weights="untrained", width=40, num_heads=2)
    encoder = load_encoder("beats", file)
    with pytest.raises(InputError, match="at least 400 samples at 16000 Hz"):
        encoder.grid(0.01)
    with pytest.raises(InputError, match="at least 16 frames of 128 mel bands; got 15"):
        encoder.encode(np.zeros((1, 15, 128), np.float32))
    with pytest.raises(InputError, match="no classification head"):
        encoder.logits(encoder.encode(np.zeros((1, 16, 128), np.float32)))
