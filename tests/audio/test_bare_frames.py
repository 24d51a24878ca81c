"""Holes in rows of frames are seen."""

import pytest

from experiments.checks.audio_files import (
    ID3_TAG,
    ID3V1_TAG,
    FfmpegEncoding,
    make_signal,
    with_ffmpeg,
)
from unmute_jax.audio.decode import AudioFile, decode_audio
from unmute_jax.errors import InputError

VARIABLE = FfmpegEncoding(
    container="mp3",
    codec="libmp3lame",
    codec_options={"flags": "+qscale", "global_quality": "472"},
)
NO_TAG = {"write_xing": "0", "id3v2_version": "0"}
# A tag as MP3Gain writes it, with its footer.
APE_HEAD = b"APETAGEX\xd0\7\0\0%c\0\0\0\1\0\0\0\0\0\0%c" + bytes(8)
APE_ITEM = b"\4\0\0\0\0\0\0\0GAIN\0-7.1"
APE_TAG = APE_HEAD % (49, 0xA0) + APE_ITEM + APE_HEAD % (49, 0x80)


def mp3(**options):
    how = FfmpegEncoding(container="mp3", codec="libmp3lame", options=options)
    return with_ffmpeg(make_signal(44_100), 44_100, how)


def samples(data):
    return len(decode_audio(data, "x")[0])


def refusal(data):
    with pytest.raises(InputError) as caught:
        decode_audio(data, "x")
    return str(caught.value)


@pytest.mark.parametrize("between", [b"", ID3V1_TAG, ID3_TAG, ID3V1_TAG + ID3_TAG])
def test_joined_files_are_read_whole(between):
    data = mp3(**NO_TAG)
    assert samples(data + between + data) == 2 * samples(data)


def test_the_length_of_joined_files_is_counted(tmp_path):
    # The bit rates of the two files differ, so that it cannot be estimated.
    quiet = with_ffmpeg(0.001 * make_signal(44_100), 44_100, VARIABLE)
    data = quiet + with_ffmpeg(make_signal(44_100), 44_100, VARIABLE)
    (tmp_path / "joined.mp3").write_bytes(data)
    with AudioFile(tmp_path / "joined.mp3") as file:
        assert file.seconds == pytest.approx(samples(data) / 44_100, abs=0.03)
    (tmp_path / "one.mp3").write_bytes(quiet)
    with AudioFile(tmp_path / "one.mp3") as file:
        assert file.seconds == pytest.approx(0.4)


@pytest.mark.parametrize("behind", [APE_TAG, ID3V1_TAG, APE_TAG + ID3V1_TAG])
def test_tags_behind_the_last_frame_are_no_damage(behind):
    for data in (mp3(), mp3(**NO_TAG)):
        assert samples(data + behind) == samples(data)


def test_zeros_are_padding_only_at_the_end():
    data = mp3(**NO_TAG)
    assert samples(data + bytes(3000)) == samples(data)
    assert "damage" in refusal(data[:2000] + bytes(1000) + data[2000:])
    assert "the first 3000 bytes are no sound" in refusal(bytes(3000) + data)


@pytest.mark.parametrize("tag", [{}, NO_TAG])
def test_a_part_that_is_left_out_is_seen(tag):
    data = mp3(**tag)
    for start in range(700, len(data) - 400, 331):
        refusal(data[:start] + data[start + 100 :])


def test_frames_that_a_tag_promises_must_be_there():
    data = mp3()
    assert "frames are promised" in refusal(data[:-600])
    assert "in frame" in refusal(data[:-1])
    assert "in frame" in refusal(mp3(**NO_TAG)[:-1])
