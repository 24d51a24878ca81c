"""Bird-MAE: its stages, its padding, and the input of its head."""

import jax
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import applied, captured
from unmute_jax.encoders import load_encoder
from unmute_jax.errors import InputError

ATOL, RTOL = 5e-5, 1e-5
FILE = golden.MORE_ENCODERS / "bird_mae_tiny.safetensors"
TINY = {"width": 16, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def arrays():
    return golden.read(golden.MORE_ENCODERS / "bird_mae_tiny.npz")


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bird_mae", FILE, num_heads=4)


def untrained(**options):
    return load_encoder("bird_mae", weights="untrained", **TINY, **options)


def test_every_stage_equals_the_reference(encoder, arrays):
    spectrogram = jax.numpy.asarray(arrays["x_512"][:, 0])
    blocks = captured(encoder, spectrogram)
    stages = {"embed_512": applied(encoder, spectrogram, method="embed")}
    for k in range(encoder.network.sizes.depth):
        stages[f"block{k}_512"] = blocks[f"blocks_{k}"]["__call__"][0]
    raw = stages[f"block{k}_512"]
    stages["patch_embed_512"] = applied(encoder, spectrogram, method="embed_patches")
    stages |= {"tokens_raw_512": raw[:, 1:], "cls_raw_512": raw[:, 0]}
    checked = [name for name in stages if name in arrays]
    assert len(checked) >= 3
    for name in checked:
        golden.assert_close(stages[name], arrays[name], name, atol=ATOL, rtol=RTOL)


def test_padding_is_the_minimum_of_the_clip():
    front_end = golden.read(golden.MORE_ENCODERS / "frontend_bird_mae.npz")
    wave = front_end["wav_5s_int16"][None] / np.float32(32768)
    encoder = untrained()
    got, want = np.asarray(encoder.frontend(wave)[0]), front_end["input_5s"]
    # A ninth of the tolerance of log-mels, which normalising divides by 8.86.
    golden.assert_close(got, want, "input", atol=1e-2 / 8.86)
    assert np.abs(got - want).mean() <= 1e-4 / 8.86
    # This clip is nowhere silent, so its padding is not that of silence.
    np.testing.assert_allclose(got[498:], got[:498].min(), atol=1e-6)
    assert got[498:].max() > -0.98
    quiet = encoder.frontend(wave[:, :64000])[0]
    np.testing.assert_allclose(quiet[498:], (np.log(2.0**-23) + 7.2) / 8.86, atol=1e-5)


def test_only_five_seconds_are_heard_unless_there_are_windows(encoder):
    wave = np.random.default_rng(0).standard_normal((1, 384000), np.float32) / 10
    padded, windows = untrained(), untrained(length_policy="window")
    first = padded(wave[:, :160000]).patches
    golden.assert_close(padded(wave).patches, first, "5 s of 12 s", atol=1e-6)
    assert padded.grid(12.0) == padded.grid(1.0) == (32, 8)
    tokens = windows(wave)
    assert tokens.patches.shape[1:3] == windows.grid(12.0) == (96, 8)
    # A window is 5.12 s long, all of which is heard.
    second = windows(wave[:, 163840 : 2 * 163840 + 480]).patches[:, :32]
    golden.assert_close(tokens.patches[:, 32:64], second, "second window", atol=1e-5)


def test_the_head_reads_the_last_block_before_its_norm():
    encoder = load_encoder(
        "bird_mae", golden.MORE_ENCODERS / "bird_mae_ft_tiny.ckpt", num_heads=3
    )
    wave = np.zeros((1, 160000), np.float32)
    with pytest.raises(InputError, match="encode with all_layers=True"):
        encoder.logits(encoder(wave))
    assert encoder.logits(encoder(wave, all_layers=True)).shape == (1, 9)
