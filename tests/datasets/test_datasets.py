"""What every data set promises: names, options, bad clips, preparation, reading."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.conftest import RATE
from unmute_jax.datasets import Protocol, base, list_datasets, load_dataset
from unmute_jax.datasets.esc50 import Esc50
from unmute_jax.errors import InputError


@pytest.fixture
def load(miniature):
    """Loads the miniature ESC-50."""
    return lambda **options: load_dataset("esc50", data_dir=miniature.root, **options)


def prints(dataset):
    return {split: dataset.fingerprint(split) for split in dataset.splits}


def test_the_names():
    names = list_datasets()
    assert names == sorted(names)
    assert {"esc10", "esc50", "esc50/esc10", "esc_mix", "sc2", "urban"} < set(names)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("esc5", {}, "did you mean 'esc50'"),
        ("esc50", {"on_bad": "ignore"}, "known: fail, skip"),
        ("esc50", {"seed": 1}, "'esc50' has no options, 'seed' was given"),
        ("esc_mix", {"train_clip": 1}, "did you mean 'train_clips'"),
        ("esc_mix", {"test_clips": "400"}, "'400', not of type int"),
    ],
)
def test_what_is_mistyped_is_named(name, options, expected):
    with pytest.raises(InputError) as caught:
        load_dataset(name, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_split(load):
    dataset = load()
    for use in (dataset.fingerprint, dataset.source_of):
        with pytest.raises(InputError, match="did you mean 'fold1'"):
            use("fold11")


def test_a_protocol_never_uses_a_split_twice():
    with pytest.raises(InputError, match="uses b more than once"):
        Protocol(name="leak", train=("a", "b"), validation=("b",), test=("c",))
    with pytest.raises(InputError, match="uses a more than once"):
        Protocol(name="leak", train=("a", "a"), validation=("b",), test=("c",))


# Reading.


def test_random_access(load):
    clips = load().source_of("fold2")
    assert len(clips) == 12
    one = clips[7]
    assert one.id == "2-2021-A-21"
    assert clips[np.int64(7)].id == one.id
    assert [clip.id for clip in clips][7] == one.id
    assert clips[-1].id == clips[11].id
    assert [clip.id for clip in clips[5:9]][2] == one.id
    for index in (12, -13):
        with pytest.raises(IndexError):
            clips[index]


def test_a_source_pickles(load):
    clips = load().source_of("fold2")
    first = clips[0]  # Open files must not travel.
    again = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(again[0].waveform, first.waveform)


def test_tensorflow_is_never_imported(miniature, own_cache):
    script = (
        "import sys, unmute_jax.datasets as d\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        f"clips = d.load_dataset('esc50', data_dir={str(miniature.root)!r})\n"
        "print(clips.source_of('fold1')[0].id)\n"
        "assert 'tensorflow' not in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(own_cache)},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1-1000-A-0\n", "")
    # Nothing is written but what was asked for.
    assert [path.name for path in own_cache.iterdir()] == ["datasets"]


# Preparation.


def test_it_is_prepared_once(load, monkeypatch, capfd):
    dataset = load()
    monkeypatch.setattr(Esc50, "read_clip", None)  # Nothing may be read again.
    assert load() == dataset
    assert capfd.readouterr() == ("", "")


def test_everything_that_changes_the_content_prepares_anew(load, miniature):
    first = load()
    assert load(on_bad="skip").folder != first.folder
    assert prints(load(on_bad="skip")) == prints(first)
    miniature.write("5-5000-A-0.wav", seed=77)
    assert load().folder != first.folder


def test_a_fingerprint_changes_with_the_content_only(load, miniature, tmp_path):
    first = prints(load())
    # Not with the place or the time of a file.
    shutil.copytree(miniature.root, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "audio" / "1-1000-A-0.wav", (0, 0))
    copied = load_dataset("esc50", data_dir=tmp_path / "elsewhere")
    assert prints(copied) == first
    # But with one sample, in its own split.
    path = miniature.audio("2-2000-A-0.wav")
    x, _ = sf.read(path, dtype="int16")
    x[100] ^= 1
    sf.write(path, x, RATE)
    second = prints(load())
    assert [split for split in first if first[split] != second[split]] == ["fold2"]
    # With a label.
    miniature.edit_csv("3-3000-A-0.wav,3,0,dog", "3-3000-A-0.wav,3,1,rooster")
    third = prints(load())
    assert [split for split in first if third[split] != second[split]] == ["fold3"]
    # And with a clip that is left out.
    miniature.audio("4-4000-A-0.wav").write_bytes(b"")
    fourth = prints(load(on_bad="skip"))
    assert [split for split in first if third[split] != fourth[split]] == ["fold4"]


@pytest.mark.parametrize("how", ["an interrupt", "a kill"])
def test_an_interrupted_preparation_is_done_again(how, miniature, load, monkeypatch):
    if how == "an interrupt":
        record, seen = Esc50.read_clip, []

        def interrupted(self, row):
            seen.append(row)
            if len(seen) == 40:
                raise KeyboardInterrupt
            return record(self, row)

        with monkeypatch.context() as patch:
            patch.setattr(Esc50, "read_clip", interrupted)
            with pytest.raises(KeyboardInterrupt):
                load()
    else:
        script = (
            "import os, unmute_jax.datasets as d, unmute_jax.datasets.esc50 as e\n"
            "record = e.Esc50.read_clip\n"
            "def killed(self, row):\n"
            "    return os._exit(9) if row.fold == 4 else record(self, row)\n"
            "e.Esc50.read_clip = killed\n"
            f"d.load_dataset('esc50', data_dir={str(miniature.root)!r})\n"
        )
        assert (
            subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
        )
    dataset = load()
    assert list(dataset.splits.values()) == [12] * 5
    for split in dataset.splits:
        assert len({clip.id for clip in dataset.source_of(split)}) == 12


def test_another_process_may_finish_first(load, monkeypatch):
    record = Esc50.read_clip

    def overtaken(self, row):
        if row.fold == 5:
            with monkeypatch.context() as patch:
                patch.setattr(Esc50, "read_clip", record)
                load()
        return record(self, row)

    monkeypatch.setattr(Esc50, "read_clip", overtaken)
    assert list(load().splits.values()) == [12] * 5


def test_a_cache_that_cannot_be_written(load, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="UNMUTE_CACHE names another place"):
        load()


# Bad clips.


def test_a_bad_clip_stops_the_preparation(load, miniature):
    path = miniature.audio("3-3011-A-11.wav")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match="cut short") as caught:
        load()
    assert str(caught.value).startswith(str(path))
    assert "on_bad='skip'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_clips_can_be_left_out(load, miniature):
    miniature.audio("3-3011-A-11.wav").write_bytes(b"")
    miniature.audio("5-5000-A-0.wav").write_text("not a sound")
    dataset = load(on_bad="skip")
    assert list(dataset.splits.values()) == [12, 12, 11, 12, 11]
    assert "2 unreadable clips skipped" in dataset.notes
    assert "3-3011-A-11" not in {clip.id for clip in dataset.source_of("fold3")}
    assert load(on_bad="skip") == dataset
    with pytest.raises(InputError):
        load()


def test_files_in_which_every_clip_is_bad(load, miniature, monkeypatch):
    monkeypatch.setattr(base, "SHARD", 4)
    for target in (0, 1, 2, 10):  # The first of three files of records.
        miniature.audio(f"3-{3000 + target}-A-{target}.wav").write_bytes(b"")
    clips = load(on_bad="skip").source_of("fold3")
    assert len(clips) == 8
    assert next(iter(clips)).id == "3-3011-A-11"


def test_a_split_in_which_every_clip_is_bad(load, miniature):
    for path in miniature.root.glob("audio/3-*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no clip of fold3 can be read"):
        load(on_bad="skip")
