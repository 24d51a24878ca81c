"""AST: its stages, positions of other lengths, front ends and files."""

import json
import re

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import (
    applied,
    check_filters,
    check_front_end,
    lengths,
)
from unmute_jax.audio.kaldi import kaldi_fbank
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.ast import AstEncoder
from unmute_jax.errors import InputError

ATOL, RTOL = 2e-4, 1e-4
FILE = golden.MORE_ENCODERS / "ast_tiny.pth"
HEADS = 4
TINY = {"width": 16, "depth": 1, "num_heads": 2}
# File of stages -> weights and heads.
FILES = {
    file: (weights, heads)
    for file, weights, heads in (
        ("ast_tiny.npz", "ast_tiny.pth", 4),
        ("ast_tiny_lengths.npz", "ast_tiny.pth", 4),
        ("ast_tiny_16_hf.npz", "ast_tiny_16_hf.safetensors", 5),
    )
    if (golden.MORE_ENCODERS / file).is_file()
}

FRONT_END = golden.MORE_ENCODERS / "frontend_ast.npz"
WHISPER_35S = golden.MORE_ENCODERS / "frontend_whisper_35s.npz"
RECIPES = {None: "audioset", "esc50": "esc50", "sc2": "speech_commands"}
INPUTS = [name for name in golden.read(FRONT_END) if name.startswith("input_")]


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.MORE_ENCODERS / "ast_tiny.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("ast", FILE, num_heads=HEADS)


def bands_first(x, bands):
    """Time-major tokens `[B, T F, D]` in the order of the reference."""
    b, n, d = x.shape
    return np.asarray(x).reshape(b, -1, bands, d).swapaxes(1, 2).reshape(b, n, d)


@pytest.mark.parametrize("file", FILES)
def test_every_stage_equals_the_reference(file):
    weights, heads = FILES[file]
    encoder = load_encoder("ast", golden.MORE_ENCODERS / weights, num_heads=heads)
    arrays, bands = golden.read(golden.MORE_ENCODERS / file), encoder.network.bands
    for length in lengths(arrays, "input"):
        spectrogram = arrays[f"input_{length}"][:, 0]
        stages = {"embed": applied(encoder, spectrogram, method="embed")}
        stored = [name for name in arrays if re.match("hidden|block", name)]
        if stored:
            outputs, stages["hidden"] = jax.jit(encoder.network.apply)(
                {"params": encoder.params}, spectrogram
            )
            stages |= {f"block_{k}": x for k, x in enumerate(outputs)}
        assert set(stored) <= {f"{name}_{length}" for name in stages}
        for name, stage in stages.items():
            if (what := f"{name}_{length}") in arrays:
                got = np.asarray(stage)
                got = np.concatenate([got[:, :2], bands_first(got[:, 2:], bands)], 1)
                golden.assert_close(got, arrays[what], what, atol=ATOL, rtol=RTOL)


def test_the_class_token_is_the_mean_of_both_special_tokens(encoder, arrays):
    tokens = encoder.encode(arrays["input_1024"][:, 0], all_layers=True)
    golden.assert_close(tokens.cls, arrays["cls_1024"], "cls", atol=ATOL)
    _, feature = jax.jit(encoder.network.apply)(
        {"params": encoder.params}, arrays["input_1024"][:, 0]
    )
    assert np.abs(feature[:, 0] - tokens.cls).max() > 0.01
    assert tokens.layers.shape == (1, 3, 101, 12, 48)


def test_positions_of_other_lengths_are_those_of_the_reference(encoder):
    arrays = golden.read(golden.MORE_ENCODERS / "ast_tiny_lengths.npz")
    names = [name for name in arrays if name.startswith("pos_embed")]
    assert names
    for name in names:
        steps = (len(arrays[name][0]) - 2) // 12
        rows = encoder.params["positions"][2:]
        got = encoder.network.fit_positions(rows, steps).reshape(1, -1, 48)
        want = arrays[name][:, 2:]
        golden.assert_close(bands_first(got, 12), want, name, atol=1e-4)


def test_the_epsilons_are_those_of_the_layout(encoder):
    hub = load_encoder("ast", golden.MORE_ENCODERS / "ast_tiny_hf.safetensors")
    assert (encoder.network.epsilon, encoder.network.head_epsilon) == (1e-6, 1e-5)
    assert (hub.network.epsilon, hub.network.head_epsilon) == (1e-12, 1e-12)
    assert hub.network.num_heads == HEADS
    assert encoder.identity() != hub.identity()


@pytest.mark.parametrize("name", INPUTS)
def test_the_front_ends_equal_the_reference(name):
    wave, frames, recipe = re.fullmatch(
        r"input_(\w+?s)_(\d+)(?:_(\w+))?", name
    ).groups()
    front_end = golden.read(FRONT_END)
    # The 35 s lie with the front end of Whisper, which is given the same waveform.
    waves = golden.read(WHISPER_35S) if wave == "35s" else front_end
    encoder = load_encoder("ast", weights="untrained", recipe=RECIPES[recipe], **TINY)
    assert encoder.framing.target_frames == int(frames)
    samples = waves[f"wav_{wave}_int16"][None] / np.float32(32768)
    got = encoder.frontend(samples)[0]
    check_front_end(got, front_end[name], name, atol=1e-3, mean=1e-5)
    if (name := f"fbank_{wave}") in front_end:
        got = jax.jit(kaldi_fbank, static_argnums=1)(samples, AstEncoder.filters)[0]
        check_front_end(got, front_end[name], name, atol=1e-2, mean=1e-4)


def test_the_filters_equal_the_reference():
    front_end = golden.read(FRONT_END)
    if "mel_banks" in front_end:
        check_filters(AstEncoder.filters, front_end["mel_banks"], front_end["window"])


def test_the_native_length_and_constants_are_those_of_the_weights(tmp_path):
    file = _copy_with_config(tmp_path, max_length=1024)
    encoder = load_encoder("ast", file)
    assert encoder.framing.target_frames == 1024
    assert encoder.grid(2.0) == (101, 12)
    assert encoder.geometry.seconds_per_step == 0.1
    edges = encoder.geometry.frequency_edges_hz
    assert len(edges) == 12
    assert edges[0][1] > edges[1][0]
    speech = load_encoder("ast", weights="untrained", recipe="speech_commands", **TINY)
    assert (speech.framing.target_frames, speech.input.std) == (128, 5.5654526)
    adapted = load_encoder("ast", file, target_frames=512)
    assert adapted.grid(2.0) == (50, 12)


def test_a_file_whose_stride_nothing_tells_is_refused(tmp_path):
    wrong = _copy_with_config(tmp_path, time_stride=16, frequency_stride=16)
    with pytest.raises(InputError, match=r"1214 positions, but a stride of 16 .* 514"):
        load_encoder("ast", wrong)
    unequal = _copy_with_config(tmp_path, time_stride=16)
    with pytest.raises(InputError, match="only equal strides are supported"):
        load_encoder("ast", unequal)
    odd = _copy_with_config(tmp_path, layer_norm_eps=3e-5)
    with pytest.raises(InputError, match="layer_norm_eps must be a power of ten"):
        load_encoder("ast", odd)


def _copy_with_config(folder, **changes):
    """A copy of the file of Hugging Face with other entries in its configuration."""
    source = golden.MORE_ENCODERS / "ast_tiny_hf.safetensors"
    config = json.loads(source.with_name("ast_tiny_hf_config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    file = folder / "model.safetensors"
    file.write_bytes(source.read_bytes())
    return file
