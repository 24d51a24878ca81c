"""The network of Whisper, stage by stage."""

import re

import pytest

from tests import golden
from tests.encoders.stages import applied, captured
from unmute_jax.encoders import load_encoder

ATOL, RTOL = 1e-4, 1e-4


@pytest.mark.parametrize("tag", ["2s", "4s"])
def test_every_stage_equals_the_reference(tag):
    encoder = load_encoder("whisper", golden.MORE_ENCODERS / "whisper_tiny.pt")
    arrays = golden.read(golden.MORE_ENCODERS / "whisper_tiny.npz")
    spectrogram = arrays[f"mel_{tag}"]
    stages = {
        f"conv_{tag}": applied(encoder, spectrogram, method="convolve"),
        f"embed_{tag}": applied(encoder, spectrogram, method="embed"),
        f"attn_0_{tag}": captured(encoder, spectrogram)["blocks_0"]["attn"]["__call__"][
            0
        ],
    }
    layers = encoder.encode(spectrogram, all_layers=True).layers[:, :, :, 0]
    stages |= {f"block_{k}_{tag}": layers[:, k] for k in range(layers.shape[1])}
    assert {
        name for name in arrays if re.fullmatch(rf"(attn|block)_\d_{tag}", name)
    } <= {*stages}
    for name, got in stages.items():
        golden.assert_close(got, arrays[name], name, atol=ATOL, rtol=RTOL)
