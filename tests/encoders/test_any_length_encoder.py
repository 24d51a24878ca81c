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
WAVEFORM_ATOL = {"beats": 1e-2, "aves2_beats": 1e-2, "dasheng": 1e-3}
INDEXES = (
    golden.ENCODERS / "cases.json",
    *sorted(golden.MORE_ENCODERS.glob("cases_*.json")),
)
TINY = {"width": 32, "depth": 2, "num_heads": 2}


def cases():
    """(encoder name, weights, arrays) of every golden file with a mask."""
    found = {}
    for index in INDEXES:
        for case in json.loads(index.read_text())["cases"]:
            arrays = index.parent / case["arrays"]
            if arrays.is_file() and "m_token_mask" in golden.read(arrays):
                weights = index.parent / case["weights"]
                found.setdefault(arrays, (case["encoder"], weights, arrays))
    if not found:
        raise FileNotFoundError(f"no masked arrays in {golden.FOLDER}")
    return [pytest.param(case, id=arrays.name) for arrays, case in found.items()]


@pytest.fixture(params=cases(), scope="module")
def case(request):
    """Encoder, arrays, how much of each input is real, and the mask of real tokens."""
    name, weights, file = request.param
    # The golden decibels end below the maximum of their batch.
    options = {"clamp": "batch"} if name == "dasheng" else {}
    encoder = load_encoder(name, weights, attention_mask=True, **options)
    arrays = golden.read(file)
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
    got = {
        "m_block0": tokens.layers[:, 0].reshape(b, t * f, d),
        "m_tokens": tokens.patches.reshape(b, t * f, d),
        "m_masked_mean": tokens.cls,
    }
    if "m_logits" in arrays:
        got["m_logits"] = encoder.logits(tokens)
        got["m_probs"] = jax.nn.sigmoid(got["m_logits"])
    for what in got.keys() & arrays.keys():
        golden.assert_close(got[what], arrays[what], what + of, atol=atol, rtol=rtol)
    if "m_masked_mean" not in arrays:
        rows = zip(arrays["m_tokens"], real, strict=True)
        means = np.stack([clip[mask].mean(0) for clip, mask in rows])
        golden.assert_close(tokens.cls, means, "m_mean" + of, atol=atol, rtol=rtol)
    np.testing.assert_array_equal(tokens.mask, real.reshape(b, t, f).any(2))
    assert not real.all()


def test_masked_tokens_equal_the_reference(case):
    encoder, arrays, extent, real = case
    x = None
    if "m_fbank_norm" in arrays:
        x = jnp.asarray(arrays["m_fbank_norm"])
        embedded = applied(encoder, x, jnp.asarray(real), method="embed")
        golden.assert_close(
            embedded, arrays["m_enc_in"], "m_enc_in", atol=ATOL, rtol=RTOL
        )
    elif "m_logmel" in arrays:
        decibels = jnp.asarray(arrays["m_logmel"].swapaxes(1, 2))
        x = applied(encoder, decibels, method="normalise")

    @jax.jit
    def run(params, x, lengths):
        part = extent._replace(lengths=lengths)
        return encoder.tokens(params, x, part, all_layers=True)

    assert x is not None or "m_wave" in arrays
    if x is not None:
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
