"""What FFmpeg reads, and how it is kept from losing sound without a word."""

import io

import av
import numpy as np
import pytest

from experiments.checks.audio_files import FfmpegEncoding, snr, with_ffmpeg
from unmute_jax.audio.ffmpeg import FfmpegDecoder
from unmute_jax.audio.section import Section
from unmute_jax.errors import InputError

RATE = 16_000


def tone(hz=440.0):
    x = 0.4 * np.sin(2 * np.pi * hz * np.arange(8000) / RATE)
    return x.astype(np.float32)[:, None]


def written(container, codec, *, rate=RATE, **options):
    how = FfmpegEncoding(container=container, codec=codec, **options)
    return with_ffmpeg(tone(), rate, how)


def opened(data):
    return FfmpegDecoder(Section(io.BytesIO(data), 0, len(data)), "x")


def decoded(data):
    return np.concatenate(list(opened(data).blocks()))


def refusal(data):
    with pytest.raises(InputError) as caught:
        decoded(data)
    return str(caught.value)


def test_the_filling_of_the_last_frame_is_left_out():
    x = decoded(written("ipod", "aac", bit_rate=96_000))
    assert len(x) == 8000
    assert snr(tone()[:, 0], x) > 20


def test_packets_are_counted_where_no_length_is_stated():
    assert opened(written("adts", "aac")).seconds == pytest.approx(9 * 1024 / RATE)


def test_several_sound_tracks_are_refused():
    data = written("matroska", "flac", tracks=2)
    assert "holds 2 sound tracks" in refusal(data)


def test_an_encrypted_track_is_refused():
    data = written("ipod", "aac").replace(b"mp4a", b"enca")
    assert refusal(data) == "x: is encrypted, and cannot be read"


def test_playlists_open_no_other_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp3").write_bytes(written("mp3", "libmp3lame"))
    message = refusal(b"ffconcat version 1.0\nfile a.mp3\n")
    assert message == "x: is not audio of a known format"


def test_a_change_of_the_sample_rate_is_refused():
    data = written("adts", "aac") + written("adts", "aac", rate=8000)
    assert "changes its sample rate from 16000 to 8000 Hz after 0.5" in refusal(data)


def test_another_number_of_channels_is_no_fault():
    mono = written("adts", "aac")
    how = FfmpegEncoding(container="adts", codec="aac")
    stereo = with_ffmpeg(tone()[:4000] * np.float32([1, 0]), RATE, how)
    x = decoded(mono + stereo + mono)
    assert len(x) == 2 * len(decoded(mono)) + len(decoded(stereo))
    # The delay of the encoder is 1024 samples.
    second = x[len(decoded(mono)) + 1024 :][:4000]
    assert snr(tone()[:4000, 0] / 2, second) > 10


def without(data, is_left_out):
    """Copies a Matroska file without some of its packets."""
    file = io.BytesIO()
    with (
        av.open(io.BytesIO(data)) as source,
        av.open(file, "w", format="matroska") as output,
    ):
        stream = output.add_stream_from_template(source.streams.audio[0])
        for i, packet in enumerate(source.demux(audio=0)):
            if packet.size and not is_left_out(i):
                packet.stream = stream
                output.mux(packet)
    return file.getvalue()


def test_holes_are_refused():
    data = written("matroska", "libopus", rate=48_000)
    assert len(decoded(without(data, lambda i: False))) == 8000
    # Each packet has 20 ms.
    message = refusal(without(data, lambda i: 2 <= i < 6))
    assert message == "x: 0.08 s of sound are missing after 0.03 s"
    assert "s of sound are missing" in refusal(without(data, lambda i: i in (1, 3, 5)))


def test_an_end_before_the_stated_one_is_refused():
    data = written("matroska", "libopus", rate=48_000)
    # Without the size of the segment, only the length in seconds is left.
    at = data.index(b"\x18\x53\x80\x67") + 4
    cut = data[:at] + b"\x01" + b"\xff" * 7 + data[at + 8 : len(data) // 3]
    assert "s are promised" in refusal(cut)
