"""BEATs stage by stage, its front end, and what it says of its files."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from tests import golden
from tests.encoders import blocks
from unmute_jax.audio.kaldi import LOG_FLOOR, kaldi_fbank, mel_banks, window
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.beats import FBANK, MEAN, SCALE, STD
from unmute_jax.encoders.beats_network import BeatsNetwork, relative_buckets
from unmute_jax.errors import InputError
from unmute_jax.weights import beats as checkpoints
from unmute_jax.weights.mapping import nested
from unmute_jax.weights.torch_file import read_torch

ATOL, RTOL = 1e-4, 1e-4
FILES = ["beats_tiny", "beats_ft_tiny"]
MANIFESTS = {"beats_base_manifest": None, "beats_ft_base_manifest": 527}
TABLE = "encoder.layers.{}.self_attn.relative_attention_bias.weight"


@pytest.fixture(params=FILES, scope="module")
def case(request):
    file = golden.ENCODERS / request.param
    return golden.read(file.with_suffix(".npz")), load_encoder(
        "beats", file.with_suffix(".pt")
    )


@pytest.fixture
def content():
    """What a file holds, to be spoilt."""
    return read_torch(golden.ENCODERS / "beats_tiny.pt")


@pytest.fixture
def load_spoilt(content, monkeypatch):
    """Loads `content` in place of a file."""

    def read(path):
        del path
        return content

    monkeypatch.setattr("unmute_jax.weights.files.read_torch", read)
    return lambda: load_encoder("beats", golden.ENCODERS / "beats_tiny.pt")


def close(got, want, what):
    golden.assert_close(got, want, what, atol=ATOL, rtol=RTOL)


def prefixes(arrays):
    """Inputs of the golden file that were run without a padding mask."""
    found = [m[1] for name in arrays if (m := re.fullmatch(r"(\w)_fbank_norm", name))]
    unmasked = [p for p in found if f"{p}_token_mask" not in arrays]
    assert unmasked
    return unmasked


def test_every_stage_equals_the_reference(case):
    arrays, encoder = case
    variables = {"params": encoder.params}
    for p in prefixes(arrays):
        x = jnp.asarray(arrays[f"{p}_fbank_norm"])
        stages = blocks.captured(encoder, x)
        n = arrays[f"{p}_tokens"].shape[1]
        got = {
            "patch": stages["patch_embed"]["__call__"][0],
            "patch_ln": stages["patch_norm"]["__call__"][0],
            "proj": stages["project"]["__call__"][0],
            "posconv": jax.nn.gelu(
                stages["position_conv"]["__call__"][0], approximate=False
            ),
            "enc_in": stages["norm"]["__call__"][0],
            "attn0": stages["blocks_0"]["attn"]["__call__"][0],
            "grep0": stages["blocks_0"]["attn"]["gate"]["__call__"][0],
            "posbias": encoder.network.apply(variables, n, method="position_bias"),
            **{
                f"block{k}": stages[f"blocks_{k}"]["__call__"][0]
                for k in range(encoder.network.sizes.depth)
            },
        }
        held = [stage for stage in got if f"{p}_{stage}" in arrays]
        assert {"enc_in", "block0"} <= set(held)
        for stage in held:
            close(got[stage], arrays[f"{p}_{stage}"], f"{p}_{stage}")


def test_all_layers_are_the_block_outputs(case):
    arrays, encoder = case
    for p in prefixes(arrays):
        tokens = encoder.encode(arrays[f"{p}_fbank_norm"], all_layers=True)
        b, l, t, f, d = tokens.layers.shape
        assert f"{p}_block{l - 1}" in arrays
        assert f"{p}_block{l}" not in arrays
        for k in range(l):
            want = arrays[f"{p}_block{k}"]
            close(tokens.layers[:, k].reshape(b, t * f, d), want, f"layer {k}")
            close(tokens.layer_cls[:, k], want.mean(1), f"mean of layer {k}")


def test_another_epsilon_would_show(case):
    arrays, encoder = case
    network = dataclasses.replace(encoder.network, epsilon=1e-6)
    wrong = dataclasses.replace(encoder, network=network)
    for p in prefixes(arrays):
        tokens = wrong.encode(arrays[f"{p}_fbank_norm"])
        assert np.abs(tokens.cls - arrays[f"{p}_mean"]).max() > 10 * ATOL


def test_buckets_equal_the_reference():
    table = golden.read(golden.ENCODERS / "beats_bucket_table.npz")
    options = int(table["num_buckets"]), int(table["max_distance"])
    got = relative_buckets(table["relative_position"], *options)
    np.testing.assert_array_equal(got, table["bucket"])


def test_the_front_end_equals_the_reference():
    arrays = golden.read(golden.ENCODERS / "frontend_beats.npz")
    np.testing.assert_allclose((MEAN, STD), (arrays["mean"], arrays["std"]))
    np.testing.assert_allclose(window(FBANK), arrays["window"], atol=1e-6)
    # The reference computes its slopes in float32.
    np.testing.assert_allclose(mel_banks(FBANK), arrays["mel_bank"][:, :-1], atol=2e-5)
    encoder = load_encoder("beats", weights="untrained", width=16, depth=1, num_heads=1)
    names = [name.removeprefix("wave_") for name in arrays if "wave_" in name]
    assert names
    for name in names:
        wave, want = arrays[f"wave_{name}"][None], arrays[f"fbank_{name}"]
        got = np.asarray(jax.jit(kaldi_fbank, static_argnums=1)(SCALE * wave, FBANK))[0]
        check_errors(got - want, 1.0)
        # Digital silence and the band without a bin are exactly at the floor.
        floor = want == want.min()
        assert floor.any()
        np.testing.assert_array_equal(got[floor], np.float32(LOG_FLOOR))
        check_errors(
            np.asarray(encoder.frontend(wave))[0] - arrays[f"input_{name}"], 2 * STD
        )


def check_errors(error, divisor):
    error = np.abs(error) * divisor
    assert error.max() <= 0.1
    assert error.mean() <= 1e-4
    assert np.quantile(error, 0.999) <= 2e-3


def test_masked_steps_do_not_enter_the_mean():
    options = {"width": 32, "depth": 1, "num_heads": 2, "mask_padding": True}
    encoder = load_encoder("beats", weights="untrained", **options)
    clip = np.random.default_rng(0).standard_normal((1, 32000), np.float32) / 10
    tokens = encoder(clip, [16000])
    steps = np.asarray(tokens.mask)[0]
    assert steps.sum() == 7
    want = np.asarray(tokens.patches)[:, steps].mean((1, 2))
    np.testing.assert_allclose(tokens.cls, want, atol=1e-5)


def test_parameters_have_the_shapes_of_the_network():
    sizes = dataclasses.replace(
        checkpoints.base_sizes(32, 2, 4), hidden=24, patch_width=10, classes=5
    )
    params = nested(checkpoints.leaves(checkpoints.untrained(sizes, 0), sizes, "x"))
    x = jax.ShapeDtypeStruct((1, 32, 128), np.float32)

    def init(x):
        def both(module, x):
            return module.classify(module(x)[-1].mean(1))

        network = BeatsNetwork(sizes=sizes)
        return network.init(jax.random.key(0), x, method=both)["params"]

    want = jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(init, x))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == want


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_full_size_layout_fits_with_nothing_left(name):
    manifest = json.loads((golden.ENCODERS / f"{name}.json").read_text())
    # Zeros without memory: every element is the same one.
    zero = np.zeros((), np.float32)
    shapes = manifest["state_dict"]
    content = {
        "cfg": manifest["cfg"],
        "model": {key: np.broadcast_to(zero, shapes[key]) for key in shapes},
    }
    found = checkpoints.canonical(content, name).tensors
    sizes = checkpoints.read_sizes(found, content, name)
    assert checkpoints.layout(sizes) == {k: v.shape for k, v in found.items()}
    assert shapes.keys() - found.keys() == {TABLE.format(i) for i in range(1, 12)}
    assert sum(v.size for v in found.values()) == manifest["n_parameters"]
    base = checkpoints.base_sizes(768, 12, 12)
    assert sizes == dataclasses.replace(base, classes=MANIFESTS[name])


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


def test_another_network_is_refused(content, load_spoilt):
    depth = content["cfg"]["encoder_layers"]
    content["cfg"] |= {"deep_norm": False, "encoder_layers": depth + 1}
    del content["cfg"]["gru_rel_pos"]
    with pytest.raises(InputError) as caught:
        load_spoilt()
    message = str(caught.value)
    assert "\n" not in message
    assert "deep_norm False, not True" in message
    assert f"encoder_layers {depth + 1}, not {depth}" in message
    assert "gru_rel_pos False, not True" in message


def test_the_farthest_distance_is_that_of_the_file(content, load_spoilt):
    said = content["cfg"]["max_distance"]
    assert load_spoilt().network.sizes.max_distance == said
    del content["cfg"]["max_distance"]
    assert load_spoilt().network.sizes.max_distance == 1280


def test_tables_that_are_not_tied_are_refused(content, load_spoilt):
    table = content["model"][TABLE.format(0)]
    content["model"][TABLE.format(1)] = table + np.float32(1e-3)
    with pytest.raises(InputError, match=r"layers\.1\.self_attn\.relative.* as tied"):
        load_spoilt()


def test_a_file_that_does_not_fit_is_refused_in_one_line(content, load_spoilt):
    model = content["model"]
    del model["encoder.layers.0.self_attn.grep_linear.bias"]
    width = len(model["layer_norm.bias"])
    model["layer_norm.bias"] = np.zeros(7, np.float32)
    model["surprise"] = np.zeros(3, np.float32)
    with pytest.raises(InputError) as caught:
        load_spoilt()
    message = str(caught.value)
    assert "\n" not in message
    assert "missing: encoder.layers.0.self_attn.grep_linear.bias" in message
    assert "not expected: surprise" in message
    assert f"layer_norm.bias is [7], not [{width}]" in message
    del model["post_extract_proj.weight"]
    with pytest.raises(InputError, match=r"post_extract_proj\.weight is missing"):
        load_spoilt()


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
