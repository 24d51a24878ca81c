"""Compares stages of front ends and of networks with the reference."""

import re

import jax
import numpy as np

from tests import golden
from unmute_jax.audio import kaldi

# (file, clip) of every golden waveform of Whisper.
WHISPER_CLIPS = [
    (file, name.removeprefix("wav_"))
    for file in ("whisper_tiny", "whisper_tiny_30s")
    if (path := golden.MORE_ENCODERS / f"{file}.npz").is_file()
    for name in golden.read(path)
    if name.startswith("wav_")
]


def lengths(arrays, kind="x"):
    """The numbers of frames of the golden inputs `KIND_...`."""
    found = [m[1] for name in arrays if (m := re.fullmatch(rf"{kind}_(\d+)", name))]
    assert found
    return found


def block_outputs(encoder, spectrogram):
    """The layers of the tokens, class token first, shape `[L, B, 1 + N, D]`."""
    tokens = jax.device_get(encoder.encode(spectrogram, all_layers=True))
    b, l, t, f, d = tokens.layers.shape
    patches = tokens.layers.reshape(b, l, t * f, d)
    return np.concatenate([tokens.layer_cls[:, :, None], patches], 2).swapaxes(0, 1)


def check_blocks(encoder, spectrogram, arrays, length, **tolerance):
    """Compares the layers of the tokens with `block..._LENGTH`, class token first."""
    outputs = block_outputs(encoder, spectrogram)
    assert f"block{len(outputs)}_{length}" not in arrays
    for k, got in enumerate(outputs):
        name = f"block{k}_{length}"
        golden.assert_close(got, arrays[name], name, **tolerance)


def check_filters(filters, banks, window):
    """Compares the triangles and the window of a Kaldi filter bank.

    Args:
        filters: The filter bank.
        banks: The reference's triangles `[mels, bins]`, in which the bin of half the
            sample rate may be left out.
        window: The reference's window, or None.
    """
    ours = kaldi.mel_banks(filters)
    assert not banks[:, ours.shape[1] :].any()
    # The reference computes its slopes in float32.
    golden.assert_close(ours, banks[:, : ours.shape[1]], "mel banks", atol=2e-5)
    if window is not None:
        golden.assert_close(kaldi.window(filters), window, "window", atol=1e-6)


def check_front_end(got, want, what, *, atol, mean):
    """Compares what a front end gives: the largest error, and the mean error."""
    golden.assert_close(got, want, what, atol=atol)
    assert np.abs(np.asarray(got) - want).mean() <= mean


def check_normalised(encoder, logmel, want):
    """Compares padded log-mels, normalised as the encoder does, with its input."""
    got = (logmel - np.float32(encoder.input.mean)) / np.float32(2 * encoder.input.std)
    golden.assert_close(got, want, "normalised log-mels", atol=1e-6)


def eat_stages(encoder, x):
    """The stages of a network like EAT's, by the names in the golden files."""
    stages = captured(encoder, x)
    patches = output(stages, "patch_embed")
    b, t, f, d = patches.shape
    got = {
        "patch_embed": patches.reshape(b, t * f, d),
        "pre_norm_in": applied(encoder, x, method="embed"),
        "pre_norm_out": output(stages, "pre_norm"),
        "attn_0": output(stages, "blocks_0", "attn"),
    }
    for k in range(encoder.network.sizes.depth):
        got[f"ffn_{k}"] = output(stages, f"blocks_{k}", "mlp")
        got[f"block_{k}"] = output(stages, f"blocks_{k}")
    return got


def beats_stages(encoder, x):
    """The stages of a network like that of BEATs, by the names in the golden files."""
    stages = captured(encoder, x)
    convolved = output(stages, "position_conv")
    got = {
        "patch": output(stages, "patch_embed"),
        "patch_ln": output(stages, "patch_norm"),
        "proj": output(stages, "project"),
        "posconv": jax.jit(jax.nn.gelu, static_argnums=1)(convolved, False),
        "enc_in": output(stages, "norm"),
        "attn0": output(stages, "blocks_0", "attn"),
        "grep0": output(stages, "blocks_0", "attn", "gate"),
        "posbias": applied(encoder, convolved.shape[1], method="position_bias"),
    }
    for k in range(encoder.network.sizes.depth):
        got[f"block{k}"] = output(stages, f"blocks_{k}")
    return got


def check_beats_stages(encoder, arrays, prefix, **tolerance):
    """Compares every stored stage of one input of a network like that of BEATs."""
    got = beats_stages(encoder, jax.numpy.asarray(arrays[f"{prefix}_fbank_norm"]))
    stored = [name for name in got if f"{prefix}_{name}" in arrays]
    assert {"enc_in", "block0"} <= {*stored}
    for name in stored:
        what = f"{prefix}_{name}"
        golden.assert_close(got[name], arrays[what], what, **tolerance)


def output(stages, *path):
    """The output of one module, of what `captured` returned."""
    for name in path:
        stages = stages[name]
    return stages["__call__"][0]


def captured(encoder, x):
    """The output of every module of the network, by the name of the module."""

    @jax.jit
    def run(params, x):
        _, state = encoder.network.apply(
            {"params": params}, x, capture_intermediates=True, mutable=["intermediates"]
        )
        return state["intermediates"]

    return run(encoder.params, x)


def applied(encoder, *inputs, method):
    """The output of a method of the network, compiled as a whole.

    Inputs that are no arrays are constants of the program.
    """

    @jax.jit
    def run(params, arrays):
        values = [arrays.get(i, value) for i, value in enumerate(inputs)]
        return encoder.network.apply({"params": params}, *values, method=method)

    arrays = {i: value for i, value in enumerate(inputs) if not isinstance(value, int)}
    return run(encoder.params, arrays)
