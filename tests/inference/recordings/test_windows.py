import dataclasses
import threading

import numpy as np
import pytest
import soundfile as sf

from unmute_jax.audio.decode import read_audio
from unmute_jax.audio.resample import resample
from unmute_jax.datasets import load_dataset
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.clip_input import ClipInput
from unmute_jax.errors import InputError
from unmute_jax.inference.recordings.windows import (
    RecordingEnd,
    RecordingFile,
    Windowing,
    expected_windows,
    find_recordings,
    make_windowing,
    pad_windows,
    prefetch,
    read_windows,
    sliding_windows,
)
from unmute_jax.store.batches import input_lengths, waveform_batches

WINDOWING = Windowing(
    sample_rate=1600, samples=800, hop=400, min_samples=10, highest_hz=800.0
)


def noise(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(samples, np.float32)


def recording(folder, x, rate, name="a.wav"):
    sf.write(folder / name, x, rate, subtype="FLOAT")
    return RecordingFile(path=folder / name, name=name)


@pytest.mark.parametrize("hop", [800, 400, 150])
@pytest.mark.parametrize("samples", [5, 799, 800, 801, 1200, 1201, 1999, 2400])
def test_windows_cover_every_sample_once_and_in_order(samples, hop):
    x, windowing = (
        noise(samples),
        dataclasses.replace(WINDOWING, hop=hop, min_samples=1),
    )
    wanted = [x[:800]]
    while (len(wanted) - 1) * hop + 800 < samples:
        start = len(wanted) * hop
        wanted.append(x[start : start + 800])
    for parts in ([x], np.split(x, range(7, samples, 7)), np.split(x, [samples // 2])):
        found = list(sliding_windows(parts, windowing))
        assert [start for start, _ in found] == [hop * i for i in range(len(wanted))]
        for (_, got), want in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    assert len(wanted) == windowing.count(samples)


def test_a_remainder_that_is_too_short_is_left_out():
    windowing = dataclasses.replace(WINDOWING, hop=800)
    assert len(list(sliding_windows([noise(809)], windowing))) == 1
    assert len(list(sliding_windows([noise(810)], windowing))) == 2


@pytest.mark.parametrize("rate", [1600, 4410])
def test_windows_of_a_file_are_those_of_its_resampled_waveform(rate, tmp_path):
    one = recording(tmp_path, noise(3 * rate), rate)
    whole = resample(read_audio(one.path)[0], rate, 1600)
    *windows, end = list(read_windows(one, WINDOWING))
    assert len(windows) == expected_windows(one, WINDOWING) == 11
    for i, window in enumerate(windows):
        assert (window.index, window.start) == (i, 0.25 * i)
        np.testing.assert_array_equal(window.waveform, whole[400 * i :][:800])
    assert isinstance(end, RecordingEnd)
    assert end.seconds == windows[-1].end == 3.0
    *later, _ = list(read_windows(one, WINDOWING, first=9))
    assert [w.index for w in later] == [9, 10]


def test_what_is_too_short_or_broken_is_an_error_of_one_line(tmp_path):
    short = recording(tmp_path, noise(9), 1600)
    with pytest.raises(InputError, match=r"a\.wav: is shorter than 0\.00625 s"):
        list(read_windows(short, WINDOWING))
    short.path.write_bytes(b"no audio")
    with pytest.raises(InputError, match=r"a\.wav: is not audio"):
        list(read_windows(short, WINDOWING))
    assert expected_windows(short, WINDOWING) == 0


def test_rows_without_a_window_repeat_the_last_one(tmp_path):
    *windows, _ = list(read_windows(recording(tmp_path, noise(1000), 1600), WINDOWING))
    waveforms, lengths = pad_windows(windows, 4, ClipInput(900))
    assert lengths.tolist() == [800, 600, 600, 600]
    np.testing.assert_array_equal(waveforms[1, :600], windows[1].waveform)
    assert not waveforms[0, 800:].any()
    np.testing.assert_array_equal(waveforms[3], waveforms[1])


def test_folders_are_searched_for_audio(tmp_path):
    for name in ("b.WAV", "a.flac", "sub/c.ogg", "notes.txt", "._a.flac", "sub/d.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    lines = []
    found = find_recordings([tmp_path], lines.append)
    assert [r.name for r in found] == ["a.flac", "b.WAV", "sub/c.ogg", "sub/d.mp3"]
    assert lines == [
        f"note: {tmp_path}: left out: 1 .txt (notes.txt), 1 hidden file (._a.flac)"
    ]
    find_recordings([tmp_path], lines.append, expected=".txt")
    assert lines[1:] == [f"note: {tmp_path}: left out: 1 hidden file (._a.flac)"]
    given = find_recordings([tmp_path / "sub" / "c.ogg", tmp_path / "notes.txt"])
    assert [r.name for r in given] == ["c.ogg", "notes.txt"]


def test_a_folder_without_audio_and_equal_names_are_refused(tmp_path):
    for name in ("x/a.wav", "y/a.wav", "empty/a.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=r"empty: holds no recordings \(\.wav.*1 \.txt"
    ):
        find_recordings([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"x/a\.wav and .*y/a\.wav have the same name"):
        find_recordings([tmp_path / "x", tmp_path / "y"])


def test_a_given_name_that_is_not_utf8_is_refused():
    with pytest.raises(InputError, match=r"m\\xf6we.wav: this name is not valid UTF-8"):
        find_recordings(["m\udcf6we.wav"])


def test_items_are_prefetched_by_a_thread_in_their_order():
    made = []

    def items():
        for i in range(5):
            made.append((i, threading.current_thread()))
            yield i

    stream = prefetch(items(), 2)
    assert next(stream) == 0
    assert list(stream) == [1, 2, 3, 4]
    assert all(thread is not threading.main_thread() for _, thread in made)


def test_prefetching_is_limited_and_passes_errors_on():
    made = []

    def items():
        for i in range(100):
            made.append(i)
            yield i
        raise AssertionError("was read to its end")

    stream = prefetch(items(), 3)
    next(stream)
    stream.close()
    assert len(made) <= 5

    def broken():
        yield 1
        raise InputError("bad")

    stream = prefetch(broken(), 3)
    assert next(stream) == 1
    with pytest.raises(InputError, match="bad"):
        next(stream)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_end_says_whether_the_channels_cancel(tmp_path, sign):
    x = noise(4000)
    one = recording(tmp_path, np.stack([x, sign * 0.9 * x], axis=1), 1600)
    *_, end = read_windows(one, WINDOWING)
    assert end.channels_cancel is (sign < 0)


def written(path, x, rate, subtype="PCM_16"):
    sf.write(path, x, rate, subtype=subtype)


def test_training_and_prediction_hear_the_same_sound(tmp_path, monkeypatch):
    """Whatever the level, the rate, the channels and the type of the samples."""
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "own"
    for kind in ("a", "b"):
        (folder / kind).mkdir(parents=True)
    for i in range(5):
        x = noise(24_000, i)
        written(folder / "a" / f"plain{i}.wav", x, 16_000)
        written(folder / "a" / f"quiet{i}.wav", 6e-5 * x, 16_000, "FLOAT")
        written(folder / "a" / f"loud{i}.wav", 90 * x, 16_000, "FLOAT")
        written(folder / "a" / f"integers{i}.wav", 90_000 * x, 8000, "FLOAT")
        written(folder / "b" / f"fast{i}.flac", x, 48_000, "PCM_24")
        written(folder / "b" / f"slow{i}.wav", x, 8000)
        written(folder / "b" / f"stereo{i}.wav", x.reshape(-1, 2), 22_050)
        written(folder / "b" / f"lossy{i}.ogg", 9 * x, 44_100, "VORBIS")
    dataset = load_dataset(f"folder:{folder}")
    encoder = load_encoder("logmel")
    windowing = make_windowing(encoder, dataset.clip_seconds, overlap=0.0)
    lengths = input_lengths(encoder, dataset.clip_seconds)
    heard = 0
    for split in dataset.splits:
        for batch in waveform_batches(encoder, dataset, split, 4, lengths=lengths):
            for clip, x, n in zip(
                batch.clips, batch.waveforms, batch.lengths, strict=True
            ):
                file = RecordingFile(path=folder / clip["id"], name=clip["id"])
                window, end = read_windows(file, windowing)
                assert isinstance(end, RecordingEnd)
                peak = np.abs(window.waveform).max()
                assert len(window.waveform) == n
                np.testing.assert_allclose(
                    x[:n], window.waveform, rtol=0, atol=1e-7 * peak
                )
                heard += 1
    assert heard == 40
