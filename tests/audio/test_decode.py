"""Decoding of audio files: all formats, and one clear line for every bad file."""

import contextlib
import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile as sf

from experiments.checks import audio_files
from experiments.checks.refused_files import REFUSED
from unmute_jax.audio import ffmpeg, libsndfile
from unmute_jax.audio.decode import AudioFile, decode_audio, read_audio
from unmute_jax.audio.resample import resample
from unmute_jax.errors import InputError

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus.ogg": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
RATE = 48_000


def tone(seconds=1.0, rate=RATE, hz=440.0):
    t = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def encoded(kind, x=None, rate=RATE):
    format, subtype = FORMATS[kind]
    file = io.BytesIO()
    sf.write(file, tone() if x is None else x, rate, format=format, subtype=subtype)
    return file.getvalue()


def refusal(path):
    """The error message for a bad file, which is one line and begins with its name."""
    with pytest.raises(InputError) as caught:
        read_audio(path)
    message = str(caught.value)
    with pytest.raises(InputError) as streamed, AudioFile(path) as file:
        list(file.blocks())
    assert str(streamed.value) == message
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def save(tmp_path):
    def write(data, name="clip.bin"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


@pytest.mark.parametrize("form", audio_files.FORMATS, ids=lambda form: form.name)
def test_every_format_gives_the_signal_that_was_written(form, save, monkeypatch):
    monkeypatch.setattr(ffmpeg, "_BLOCK", 3000)
    monkeypatch.setattr(libsndfile, "_BLOCK", 3000)
    path = save(form.encode())
    x, rate = read_audio(path)
    with AudioFile(path) as file:
        first, second = (np.concatenate(list(file.blocks())) for _ in "12")
        assert file.sample_rate == rate == form.rate
        assert file.seconds == pytest.approx(len(x) / rate, abs=0.1)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, x)
    assert x.dtype == np.float32
    signal = form.signal().mean(axis=1)
    assert audio_files.find_delay(signal, x) == form.delay
    more = len(x) - form.delay - len(signal)
    assert min(form.more, 0) <= more <= max(form.more, 0)
    decoded = x[form.delay :][: len(signal)]
    assert audio_files.snr(signal[: len(decoded)], decoded) >= form.snr


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_in_full_is_refused(name, save, capfd):
    refusal(save(REFUSED[name]()))
    assert capfd.readouterr() == ("", "")


def test_samples_of_sixteen_bits_are_exact(save):
    steps = np.array([-32768, -1, 0, 1, 32767], np.int16)
    x, _ = read_audio(save(encoded("wav", steps)))
    np.testing.assert_array_equal(x * 32768, steps)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels, save):
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.9, 0.9, (1000, channels)).astype(np.float32)
    mono, _ = read_audio(save(encoded("float.wav", x)))
    np.testing.assert_allclose(mono, x.mean(axis=1), atol=1e-6)


def test_channels_are_averaged_before_the_rate_changes(save):
    # The two orders differ only in rounding, so the comparison must be exact.
    stereo = np.stack([tone(hz=300), tone(hz=5000)], axis=1)
    path = save(encoded("float.wav", stereo))
    x, rate = read_audio(path, sample_rate=16_000)
    assert rate == 16_000
    np.testing.assert_array_equal(x, resample(read_audio(path)[0], RATE, 16_000))


def test_a_truncated_long_file_is_refused_before_it_is_decoded(save):
    path = save(encoded("wav")[:-1000])
    with pytest.raises(InputError, match="is cut short"):
        AudioFile(path)


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "no.wav") == "there is no such file"


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == "is a folder, not an audio file"


def test_an_empty_file_is_refused(save):
    assert refusal(save(b"")) == "is empty (0 bytes)"


def test_a_header_without_samples_is_refused(save):
    assert refusal(save(encoded("wav", np.zeros(0, np.int16)))) == "holds no samples"


@pytest.mark.parametrize(
    "data",
    [
        b"a letter, not a sound\n" * 200,
        bytes(4000),
        np.random.default_rng(0).bytes(4000),
    ],
    ids=["text", "zeros", "noise"],
)
def test_data_that_are_not_audio_are_refused(data, save, capfd):
    assert refusal(save(data)) == "is not audio of a known format"
    assert capfd.readouterr() == ("", "")


def test_data_that_only_begin_like_an_mp3_are_refused(save, capfd):
    path = save(b"\xff\xfb\x90" + b"x" * 3000)
    assert refusal(path) == "is a damaged MP3 or AAC file, or cut short"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("part", [0.999, 0.6, 0.2])
def test_a_truncated_file_is_refused(kind, part, save, capfd):
    data = encoded(kind)
    reason = refusal(save(data[: int(part * len(data))]))
    assert "cut short" in reason
    assert capfd.readouterr() == ("", "")


def test_an_ogg_file_that_ends_after_a_complete_page_is_refused(save):
    data = encoded("ogg", tone(3.0))
    assert "cut short" in refusal(save(data[: data.rfind(b"OggS")]))


def test_a_truncated_header_is_refused(save, capfd):
    for kind in FORMATS:
        refusal(save(encoded(kind)[:30]))
    assert capfd.readouterr() == ("", "")


def test_a_streamed_wav_need_not_know_its_length(save):
    data = bytearray(encoded("wav"))
    start = data.index(b"data") + 4
    data[start : start + 4] = b"\xff" * 4
    assert len(read_audio(save(bytes(data)))[0]) == RATE


def test_an_mp3_without_a_length_is_read(save):
    file = io.BytesIO()
    with sf.SoundFile(
        file,
        "w",
        RATE,
        1,
        "MPEG_LAYER_III",
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=0.5,
    ) as sound:
        sound.write(tone())
    data = file.getvalue()
    second = data.index(data[:3], 4)  # The first frame has the length and no sound.
    assert len(read_audio(save(data[second:]))[0]) == pytest.approx(RATE, rel=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(value, save):
    x = tone()
    x[77] = value
    reason = refusal(save(encoded("float.wav", x)))
    assert reason == "contains NaN or infinite samples"


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_an_impossible_sample_rate_is_refused(rate, save):
    data = bytearray(encoded("wav"))
    data[24:28] = struct.pack("<I", rate)
    assert f"claims a sample rate of {rate} Hz" in refusal(save(bytes(data)))


def test_damaged_bytes_never_raise_another_error(capfd):
    rng = np.random.default_rng(0)
    for kind in FORMATS:
        whole = encoded(kind, tone(0.3))
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(rng.integers(1, 8)):
                near_header = rng.random() < 0.7
                data[rng.integers(200 if near_header else len(data))] = rng.integers(
                    256
                )
            with contextlib.suppress(InputError):
                decode_audio(bytes(data), kind)
    assert capfd.readouterr() == ("", "")


def test_memory_does_not_grow_with_the_length(save):
    path = save(encoded("flac", np.zeros(120 * RATE, np.float32)))
    tracemalloc.start()
    try:
        with AudioFile(path) as file:
            samples = sum(len(block) for block in file.blocks())
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples == 120 * RATE
    assert peak < 2 * samples  # Bytes: less than half of the waveform.
