"""Bird-MAE: its stages, its padding, and the input of its head."""

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import (
    applied,
    check_filters,
    check_front_end,
    check_normalised,
)
from unmute_jax.audio.kaldi import kaldi_fbank
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.bird_mae import HEARD
from unmute_jax.errors import InputError

ATOL, RTOL = 5e-5, 1e-5
FILE = golden.MORE_ENCODERS / "bird_mae_tiny.safetensors"
TINY = {"width": 16, "depth": 1, "num_heads": 2}
WEIGHTS = [("bird_mae_tiny.safetensors", 4), ("bird_mae_ft_tiny.ckpt", 3)]
FRONT_END = golden.MORE_ENCODERS / "frontend_bird_mae.npz"
INPUTS = [n.removeprefix("wav_") for n in golden.read(FRONT_END) if "wav_" in n]


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bird_mae", FILE, num_heads=4)


def untrained(**options):
    return load_encoder("bird_mae", weights="untrained", **TINY, **options)


@pytest.mark.parametrize(("weights", "heads"), WEIGHTS)
def test_every_stage_equals_the_reference(weights, heads):
    file = golden.MORE_ENCODERS / weights
    encoder = load_encoder("bird_mae", file, num_heads=heads)
    inputs = golden.read(golden.MORE_ENCODERS / "bird_mae_tiny.npz")
    spectrogram = jax.numpy.asarray(inputs["x_512"][:, 0])
    if "logmel_512" in inputs:
        check_normalised(encoder, inputs["logmel_512"], spectrogram)
    arrays = golden.read(file.with_suffix(".npz"))
    outputs, feature = jax.jit(encoder.network.apply)(
        {"params": encoder.params}, spectrogram
    )
    stages = {f"block{k}_512": x for k, x in enumerate(outputs)} | {
        "patch_embed_512": applied(encoder, spectrogram, method="embed_patches"),
        "embed_512": applied(encoder, spectrogram, method="embed"),
        "tokens_raw_512": outputs[-1][:, 1:],
        "cls_raw_512": outputs[-1][:, 0],
        "tokens_512": feature[:, 1:],
        "cls_512": feature[:, 0],
    }
    stored = [name for name in stages if name in arrays]
    assert "tokens_512" in stored
    for name in stored:
        golden.assert_close(stages[name], arrays[name], name, atol=ATOL, rtol=RTOL)


@pytest.mark.parametrize("name", INPUTS)
def test_the_front_end_equals_the_reference(name):
    arrays, encoder = golden.read(FRONT_END), untrained()
    samples = arrays[f"wav_{name}"][None]
    if samples.dtype == np.int16:
        samples = samples / np.float32(32768)
    filters, name = encoder.filters, name.removesuffix("_int16")
    if (what := f"fbank_{name}") in arrays:
        # 5 s are heard, of which a shorter clip fills the rest with silence.
        heard = np.zeros((1, HEARD), np.float32)
        heard[:, : samples.shape[1]] = samples[:, :HEARD]
        got = jax.jit(kaldi_fbank, static_argnums=1)(heard, filters)[0]
        check_front_end(got, arrays[what], what, atol=1e-2, mean=1e-4)
    if (what := f"input_{name}") in arrays:
        # A ninth of the tolerance of log-mels, which normalising divides by 8.86.
        limits = {"atol": 1e-2 / 8.86, "mean": 1e-4 / 8.86}
        check_front_end(encoder.frontend(samples)[0], arrays[what], what, **limits)


def test_the_constants_of_the_front_end_equal_the_reference():
    arrays, encoder = golden.read(FRONT_END), untrained()
    if "norm" in arrays:
        ours = (encoder.input.mean, encoder.input.std)
        np.testing.assert_allclose(ours, arrays["norm"], rtol=1e-6)
        check_filters(encoder.filters, arrays["mel_banks"], None)


def test_padding_is_the_minimum_of_the_clip():
    front_end = golden.read(FRONT_END)
    wave = front_end["wav_5s_int16"][None] / np.float32(32768)
    encoder = untrained()
    got = np.asarray(encoder.frontend(wave)[0])
    # This clip is nowhere silent, so its padding is not that of silence.
    np.testing.assert_allclose(got[498:], got[:498].min(), atol=1e-6)
    assert got[498:].max() > -0.98
    quiet = encoder.frontend(wave[:, :64000])[0]
    np.testing.assert_allclose(quiet[498:], (np.log(2.0**-23) + 7.2) / 8.86, atol=1e-5)


def test_only_five_seconds_are_heard_unless_there_are_windows(encoder):
    wave = np.random.default_rng(0).standard_normal((1, 384000), np.float32) / 10
    padded, windows = untrained(), untrained(length_policy="window")
    first = padded(wave[:, :160000]).patches
    np.testing.assert_allclose(padded(wave).patches, first, atol=1e-6)
    assert padded.grid(12.0) == padded.grid(1.0) == (32, 8)
    tokens = windows(wave)
    assert tokens.patches.shape[1:3] == windows.grid(12.0) == (96, 8)
    # A window is 5.12 s long, all of which is heard.
    second = windows(wave[:, 163840 : 2 * 163840 + 480]).patches[:, :32]
    np.testing.assert_allclose(tokens.patches[:, 32:64], second, atol=1e-5)


def test_the_head_reads_the_last_block_before_its_norm():
    encoder = load_encoder(
        "bird_mae", golden.MORE_ENCODERS / "bird_mae_ft_tiny.ckpt", num_heads=3
    )
    wave = np.zeros((1, 160000), np.float32)
    with pytest.raises(InputError, match="encode with all_layers=True"):
        encoder.logits(encoder(wave))
    assert encoder.logits(encoder(wave, all_layers=True)).shape == (1, 9)
