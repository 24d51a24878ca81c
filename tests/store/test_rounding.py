"""Rounding that loses what tells clips apart is measured, and said in one line."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.test_conformance import RATE, tiny
from tests.encoders.test_whisper import WEIGHTS
from tests.store.fakes import FakeEncoder, fake_dataset, fake_encoder
from unmute_jax.store.embed import embed
from unmute_jax.store.key import Kept
from unmute_jax.store.rounding import (
    LIMIT,
    RoundingCheck,
    lost_variance,
    products_loss,
    storage_loss,
)
from unmute_jax.tokens import Tokens

MASK = np.ones((4, 10, 1), bool)


@pytest.fixture
def exact():
    """Tokens of four clips with a standard deviation of 1, `[4, 10, 2, 8]`."""
    return np.random.default_rng(0).standard_normal((4, 10, 2, 8), np.float32)


def tokens_of(patches, **fields):
    mask = jnp.ones(patches.shape[:2], bool)
    return Tokens(patches=patches, cls=patches[:, 0, 0], mask=mask, **fields)


def test_the_measure_is_the_share_of_the_variance_between_clips(exact):
    noise = np.random.default_rng(1).standard_normal(exact.shape, np.float32)
    assert lost_variance(exact, exact + 0.5 * noise, MASK) == pytest.approx(0.25, 0.2)
    # What all clips have in common is no signal, and a constant error is no loss.
    same = 100 * np.random.default_rng(2).standard_normal((1, 10, 2, 8), np.float32)
    rounded = exact + same + 0.5 * noise
    assert lost_variance(exact + same, rounded, MASK) == pytest.approx(0.25, 0.2)
    assert lost_variance(exact, exact + same, MASK) < 1e-6
    # Where every clip gets the same value, all is lost.
    assert lost_variance(exact, np.zeros_like(exact), MASK) == 1.0
    assert np.isnan(lost_variance(same.repeat(4, 0), exact, MASK))


def test_padding_does_not_count_and_one_clip_is_compared_with_itself(exact):
    mask = np.arange(10)[None, :, None] < np.array([10, 4, 4, 4])[:, None, None]
    noisy = np.where(mask[..., None], exact, 7.0)
    assert lost_variance(exact, noisy, mask) == 0.0
    noise = np.random.default_rng(1).standard_normal((1, 10, 2, 8), np.float32)
    share = lost_variance(exact[:1], exact[:1] + 0.5 * noise, MASK[:1])
    assert share == pytest.approx(0.25, 0.5)


@pytest.mark.parametrize(
    ("mean", "bfloat16", "int8"),
    [
        (0, (0, 1e-5), (1e-5, 1e-3)),
        (64, (0.01, 0.1), (0.01, 0.1)),
        (1000, (0.5, 1), (0.9, 1)),
    ],
)
def test_large_features_lose_what_distinguishes_clips(exact, mean, bfloat16, int8):
    tokens = tokens_of(exact + np.float32(mean))
    for dtype, (low, high) in {"bfloat16": bfloat16, "int8": int8}.items():
        loss = storage_loss(tokens, dtype)
        assert low <= loss.share <= high
        assert loss.is_large == (mean == 1000)
    assert storage_loss(tokens, "float32") is None


def test_one_outlier_channel_takes_all_digits_of_int8(exact):
    exact[..., 3] += 500
    loss = storage_loss(tokens_of(exact), "int8")
    assert loss.share > 0.8
    assert not storage_loss(tokens_of(exact), "bfloat16").is_large


def test_the_layers_that_are_stored_are_measured(exact):
    layers = np.stack([exact, exact + np.float32(1000)], axis=1)
    tokens = tokens_of(exact, layers=layers, layer_cls=layers[:, :, 0, 0])
    for kept, is_large in {
        Kept(): False,
        Kept(layer=0): False,
        Kept(layer=1): True,
        Kept(layers=True): True,
        Kept(summaries=True): False,  # These are not rounded.
    }.items():
        assert storage_loss(tokens, "bfloat16", kept).is_large == is_large


def with_large_values(encoder, constant):
    """The same function in exact arithmetic, with a constant in all attention values.

    Attention weights add up to 1, so the constant reaches the output projection, whose
    bias takes it away again.
    """
    blocks = {}
    for name in (name for name in encoder.params if name.startswith("blocks_")):
        block = encoder.params[name]
        qkv, proj = block["attn"]["qkv"], block["attn"]["proj"]
        d = len(proj["bias"])
        shift = np.full(d, constant, np.float32)
        weight = np.asarray(proj["weight"], np.float32)
        qkv = {**qkv, "bias": qkv["bias"].at[2 * d :].add(shift)}
        proj = {**proj, "bias": proj["bias"] - weight @ shift}
        blocks[name] = {**block, "attn": {**block["attn"], "qkv": qkv, "proj": proj}}
    return dataclasses.replace(encoder, params={**encoder.params, **blocks})


def test_activations_that_outgrow_bfloat16_are_measured():
    clips = np.random.default_rng(0).standard_normal((2, RATE), np.float32)
    lengths = np.full(2, RATE, np.int32)
    usual = tiny("audiomae", precision="bfloat16")
    large = with_large_values(usual, 3e4)
    shares = [
        products_loss(encoder, clips, lengths, encoder(clips)).share
        for encoder in (usual, large)
    ]
    assert shares[0] < LIMIT / 100 < LIMIT < shares[1]
    exact = tiny("audiomae")
    assert products_loss(exact, clips, lengths, exact(clips)) is None


@pytest.mark.skipif(
    not WEIGHTS.is_dir(),
    reason="the weights of Whisper base are not beside the checkout",
)
def test_real_weights_lose_little():
    expected = golden.read(WEIGHTS / "whisper-base-expected.npz")
    patches = np.stack([expected[f"tokens_{i}"][:250, None] for i in (0, 1)])
    # The largest values are 20 times the root mean square.
    assert storage_loss(tokens_of(patches), "bfloat16").share < 1e-4
    assert 1e-4 < storage_loss(tokens_of(patches), "int8").share < 0.02


class LargeEncoder(FakeEncoder):
    """An encoder whose features are large against what differs between clips."""

    def tokens(self, *inputs, **options):
        tokens = super().tokens(*inputs, **options)
        return dataclasses.replace(tokens, patches=tokens.patches + 10_000.0)


def warnings_of(encoder, root, caplog, dtype="bfloat16"):
    """What a pass over 150 clips says in the log."""
    caplog.clear()
    embed(encoder, fake_dataset(), "train", root=root, dtype=dtype)
    return [r.message for r in caplog.records if "tells clips apart" in r.message]


def test_a_pass_warns_in_one_line_with_the_number(tmp_path, caplog):
    assert not warnings_of(fake_encoder(), tmp_path / "usual", caplog)
    large = fake_encoder(made=LargeEncoder)
    (line,) = warnings_of(large, tmp_path / "large", caplog)
    number = re.search(r"storing tokens in bfloat16 loses ([\d.]+) %", line)
    assert 10 < float(number[1]) <= 100
    assert line.endswith("use config.tokens.dtype=float32")
    assert not warnings_of(large, tmp_path / "large", caplog, "float32")


def test_batches_of_equal_clips_are_passed_over(exact, caplog):
    check = RoundingCheck(fake_encoder(), "bfloat16")
    for patches in (np.zeros_like(exact), exact + np.float32(1000)):
        check(tokens_of(patches), 4)
    assert "tells clips apart" in caplog.text
    caplog.clear()
    check(tokens_of(exact + np.float32(1000)), 4)
    assert not caplog.text
