import io

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.audio.channels import ChannelMix
from unmute_jax.audio.decode import AudioFile, decode_audio

TONE = np.sin(np.arange(8000) / 5).astype(np.float32)
NOISE = 0.3 * np.random.default_rng(0).standard_normal((8000, 12)).astype(np.float32)


def mixed(channels):
    mix = ChannelMix()
    blocks = np.array_split(np.stack(channels, axis=1).astype(np.float32), 3)
    return np.concatenate([mix.mono(block) for block in blocks]), mix.cancels


@pytest.mark.parametrize(
    "channels",
    [
        [TONE],
        [TONE, TONE],
        [TONE, 0 * TONE],
        [TONE, NOISE[:, 0]],
        [TONE, -0.5 * TONE],
        [TONE, -TONE, TONE],
        list(NOISE.T),
        [NOISE[:, 0], *[0 * TONE] * 11],
        [0 * TONE, 0 * TONE],
        [1e30 * TONE, 1e30 * TONE],
    ],
)
def test_channels_are_averaged(channels):
    average, cancels = mixed(channels)
    np.testing.assert_allclose(average, np.mean(channels, axis=0), rtol=1e-6, atol=1e-6)
    assert not cancels


@pytest.mark.parametrize(
    "channels", [[TONE, -TONE], [TONE, -0.9 * TONE], [TONE, -TONE, 0.2 * NOISE[:, 0]]]
)
def test_channels_that_cancel_are_noticed(channels):
    _, cancels = mixed(channels)
    assert cancels


# libsndfile decodes WAV here, and FFmpeg MP3.
@pytest.mark.parametrize("kind", ["wav", "mp3"])
@pytest.mark.parametrize("cancels", [False, True])
def test_both_decoders_notice_it(tmp_path, kind, cancels):
    other = -TONE if cancels else TONE
    file = io.BytesIO()
    sf.write(file, 0.5 * np.stack([TONE, other], axis=1), 16_000, format=kind)
    mix = ChannelMix()
    decode_audio(file.getvalue(), "a", mix=mix)
    assert mix.cancels is cancels
    (tmp_path / "a").write_bytes(file.getvalue())
    with AudioFile(tmp_path / "a") as opened:
        assert not opened.mix.cancels
        assert list(opened.blocks())
    assert opened.mix.cancels is cancels
