"""The network of Whisper, stage by stage."""

import pytest

from tests import golden
from tests.encoders.stages import WHISPER_CLIPS, applied, captured, output
from unmute_jax.encoders import load_encoder

ATOL, RTOL = 1e-4, 1e-4


@pytest.mark.parametrize(("file", "tag"), WHISPER_CLIPS)
def test_every_stage_equals_the_reference(file, tag):
    encoder = load_encoder("whisper", golden.MORE_ENCODERS / f"{file}.pt")
    arrays = golden.read(golden.MORE_ENCODERS / f"{file}.npz")
    spectrogram = arrays[f"mel_{tag}"]
    stages = {
        "conv": applied(encoder, spectrogram, method="convolve"),
        "embed": applied(encoder, spectrogram, method="embed"),
        "attn_0": output(captured(encoder, spectrogram), "blocks_0", "attn"),
    }
    layers = encoder.encode(spectrogram, all_layers=True).layers[:, :, :, 0]
    stages |= {f"block_{k}": layers[:, k] for k in range(layers.shape[1])}
    for name, got in stages.items():
        if (what := f"{name}_{tag}") in arrays:
            golden.assert_close(got, arrays[what], what, atol=ATOL, rtol=RTOL)
    assert f"block_{layers.shape[1] - 1}_{tag}" in arrays
