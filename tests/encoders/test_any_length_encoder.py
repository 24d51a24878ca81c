"""Encoders without a class token: padding masks against the references."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import golden
from tests.encoders.stages import applied
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.framing import Extent

ATOL, RTOL = 1e-4, 1e-4
# Filter banks in float32 differ in almost empty cells.
WAVEFORM_ATOL = {"beats": 1e-2, "dasheng": 1e-3}
TINY = {"width": 32, "depth": 2, "num_heads": 2}


def cases():
    """(encoder name, weights, arrays) of every golden file with a mask."""
    index = json.loads((golden.ENCODERS / "cases.json").read_text())["cases"]
    weights = {case["arrays"]: (case["encoder"], case["weights"]) for case in index}
    files = sorted(golden.ENCODERS.glob("*.npz"))
    found = [f.name for f in files if "m_tokens" in golden.read(f)]
    if not found:
        raise FileNotFoundError(f"no masked arrays in {golden.ENCODERS}")
    return [pytest.param((*weights[file], file), id=file) for file in found]


@pytest.fixture(params=cases(), scope="module")
def case(request):
    """Encoder, arrays, how much of each input is real, and the mask of real tokens."""
    name, weights, file = request.param
    # The golden decibels end below the maximum of their batch.
    options = {"clamp": "batch"} if name == "dasheng" else {}
    path = golden.ENCODERS / weights
    encoder = load_encoder(name, path, attention_mask=True, **options)
    arrays = golden.read(golden.ENCODERS / file)
    if "m_x_length" in arrays:
        lengths = arrays["m_x_length"].astype(np.int32)
        samples = int(lengths.max())
    else:
        lengths = (~arrays["m_padding_mask"]).sum(1, dtype=np.int32)
        samples = arrays["m_padding_mask"].shape[1]
    extent = Extent(jnp.asarray(lengths), samples)
    return encoder, arrays, extent, ~arrays["m_token_mask"]


def check(encoder, tokens, case, atol, rtol=0.0, of=""):
    """Compares every masked array of the file, and the mask itself."""
    _, arrays, _, real = case
    b, t, f, d = tokens.patches.shape
    flat = arrays["m_tokens"]
    means = [clip[mask].mean(0) for clip, mask in zip(flat, real, strict=True)]
    want = {"m_masked_mean": np.stack(means)} | arrays
    got = {
        "m_block0": tokens.layers[:, 0].reshape(b, t * f, d),
        "m_tokens": tokens.patches.reshape(b, t * f, d),
        "m_masked_mean": tokens.cls,
    }
    if "m_logits" in arrays:
        got["m_logits"] = encoder.logits(tokens)
    for what, values in got.items():
        golden.assert_close(values, want[what], what + of, atol=atol, rtol=rtol)
    np.testing.assert_array_equal(tokens.mask, real.reshape(b, t, f).any(2))
    assert not real.all()


def test_masked_tokens_equal_the_reference(case):
    encoder, arrays, extent, real = case
    if "m_fbank_norm" in arrays:
        x = jnp.asarray(arrays["m_fbank_norm"])
        embedded = applied(encoder, x, jnp.asarray(real), method="embed")
        golden.assert_close(
            embedded, arrays["m_enc_in"], "m_enc_in", atol=ATOL, rtol=RTOL
        )
    else:
        decibels = jnp.asarray(arrays["m_logmel"].swapaxes(1, 2))
        x = applied(encoder, decibels, method="normalise")

    @jax.jit
    def run(params, x, lengths):
        part = extent._replace(lengths=lengths)
        return encoder.tokens(params, x, part, all_layers=True)

    tokens = run(encoder.params, x, extent.lengths)
    check(encoder, tokens, case, ATOL, RTOL)
    if "m_wave" in arrays:
        tokens = encoder(arrays["m_wave"], extent.lengths, all_layers=True)
        check(encoder, tokens, case, WAVEFORM_ATOL[encoder.name], of=" of m_wave")


@pytest.mark.parametrize("name", ["beats", "dasheng"])
def test_padding_is_attended_to_unless_it_is_masked(name):
    plain = load_encoder(name, weights="untrained", **TINY)
    masking = load_encoder(name, weights="untrained", attention_mask=True, **TINY)
    assert plain.identity() != masking.identity()
    noise = np.random.default_rng(0).standard_normal((3, 16000), np.float32) / 10
    clips = noise, np.array([16000, 6000, 0], np.int32)
    got, want = (jax.jit(e.apply)(e.params, *clips) for e in (masking, plain))
    assert np.asarray(want.mask).all()
    change = np.abs(got.patches - want.patches).max((1, 2, 3))
    assert change[0] < 1e-5
    assert change[1] > 1e-4
    real = np.asarray(got.mask[1])
    step = masking.geometry.seconds_per_step
    assert abs(real.sum() * step - 6000 / 16000) <= step
    # A row without a clip, with which batches may be filled up.
    assert np.isfinite(got.patches).all()
    assert not np.asarray(got.mask)[2].any()
    assert not np.asarray(got.cls)[2].any()
