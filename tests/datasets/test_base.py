"""What every builder promises: preparation, fingerprints and bad clips."""

import dataclasses
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import soundfile as sf

from tests.datasets.conftest import RATE
from tests.held import started
from unmute_jax.datasets import base, clips, load_dataset
from unmute_jax.datasets.esc50 import Esc50
from unmute_jax.errors import InputError


@pytest.fixture
def load(miniature):
    """Loads the miniature of ESC-50."""
    return lambda **options: load_dataset("esc50", data_dir=miniature.root, **options)


def fingerprints(dataset):
    return {split: dataset.fingerprint(split) for split in dataset.splits}


# Preparation.


def test_a_data_set_is_prepared_once(load, monkeypatch, capfd):
    dataset = load()
    monkeypatch.setattr(Esc50, "read_clip", None)  # No clip may be read again.
    assert load() == dataset
    assert capfd.readouterr() == ("", "")


def test_a_change_of_content_prepares_anew(load, miniature):
    first = load()
    assert load(on_bad="skip").folder != first.folder
    assert fingerprints(load(on_bad="skip")) == fingerprints(first)
    miniature.write("5-5000-A-0.wav", seed=77)
    assert load().folder != first.folder


def test_a_fingerprint_changes_with_the_content_only(load, miniature, tmp_path):
    first = fingerprints(load())
    # It does not change with the place or the time of a file,
    shutil.copytree(miniature.root, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "audio" / "1-1000-A-0.wav", (0, 0))
    copied = load_dataset("esc50", data_dir=tmp_path / "elsewhere")
    assert fingerprints(copied) == first
    # but with one sample, in its own split,
    path = miniature.audio("2-2000-A-0.wav")
    x, _ = sf.read(path, dtype="int16")
    x[100] ^= 1
    sf.write(path, x, RATE)
    second = fingerprints(load())
    assert [split for split in first if first[split] != second[split]] == ["fold2"]
    # with a label,
    miniature.edit_csv("3-3000-A-0.wav,3,0,dog", "3-3000-A-0.wav,3,1,rooster")
    third = fingerprints(load())
    assert [split for split in first if third[split] != second[split]] == ["fold3"]
    # and with a clip that is left out.
    miniature.audio("4-4000-A-0.wav").write_bytes(b"")
    fourth = fingerprints(load(on_bad="skip"))
    assert [split for split in first if third[split] != fourth[split]] == ["fold4"]


@pytest.mark.parametrize("how", ["an interrupt", "a kill"])
def test_an_interrupted_preparation_is_done_again(
    how, miniature, load, monkeypatch, own_cache
):
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
    assert len(list(own_cache.rglob("incomplete.*"))) == (how == "a kill")
    dataset = load()
    assert not list(own_cache.rglob("incomplete.*"))
    assert list(dataset.splits.values()) == [12] * 5
    for split in dataset.splits:
        assert len({clip.id for clip in dataset.source_of(split)}) == 12


SLOW = (
    "import sys, unmute_jax.datasets as d, unmute_jax.datasets.esc50 as e\n"
    "record = e.Esc50.read_clip\n"
    "def slow(self, row):\n"
    "    if row.fold == 4: print('held', flush=True); sys.stdin.read()\n"
    "    return record(self, row)\n"
    "e.Esc50.read_clip = slow\n"
    "d.load_dataset('esc50', data_dir=sys.argv[1])\n"
)


@pytest.mark.parametrize("how", ["finishes", "is killed"])
def test_one_process_prepares_and_others_wait(
    how, miniature, load, caplog, own_cache, monkeypatch
):
    with started(SLOW, miniature.root) as other, ThreadPoolExecutor(1) as pool:
        [left] = own_cache.rglob("incomplete.*")
        result = pool.submit(load)
        while not caplog.messages:
            assert not wait([result], timeout=0.05).done
        [line] = caplog.messages
        assert line.startswith("another process is preparing esc50 (since ")
        assert line.endswith(
            f", process {other.pid} on {platform.node()}): waiting for it"
        )
        if how == "is killed":
            other.kill()
        else:
            monkeypatch.setattr(Esc50, "read_clip", None)  # It need not be read again.
            other.communicate("")
        assert list(result.result(60).splits.values()) == [12] * 5
    assert not left.exists()
    assert not list(own_cache.rglob("incomplete.*"))


def test_on_a_full_disk_the_place_is_named_and_the_next_run_prepares(load, monkeypatch):
    def full(*_):
        raise RuntimeError("write() failed: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(
            "array_record.python.array_record_module.ArrayRecordWriter.write", full
        )
        with pytest.raises(InputError) as caught:
            load()
    message = str(caught.value)
    assert message.startswith("esc50 cannot be prepared: ")
    assert "/prepared/" in message
    assert "No space left on device (" in message
    assert message.endswith("UNMUTE_CACHE names another folder for all caches")
    assert load().splits


def test_clips_that_were_written_are_not_kept_in_memory(load, monkeypatch):
    records, kept = [], []

    def recording(clip):
        kept.append(sum(bool(record) for record in records))
        records.append(clips.to_record(clip))
        return records[-1]

    monkeypatch.setattr(base, "to_record", recording)
    dataset = load()
    assert len(records) == 60
    assert not any(kept)
    assert [clip.id[0] for clip in dataset.source_of("fold2")] == ["2"] * 12


def test_what_is_known_of_the_clips_is_kept_with_them(load, miniature):
    path = miniature.audio("2-2001-A-1.wav")
    sf.write(path, np.zeros(RATE // 2, np.int16), RATE // 2)
    dataset = load()
    assert dataset.sample_rates == {RATE // 2: 1, RATE: 59}
    assert dataset.durations["fold1"] == {0.3: 12}
    assert dataset.durations["fold2"] == {0.3: 11, 1.0: 1}
    assert dataset.clip_seconds == 1.0
    assert "sample rates differ: 22,050 Hz (1 clips), 44,100 Hz (59 clips)" in (
        dataset.notes
    )
    assert "1 clip is silent, or quieter than 16 bits can tell" in dataset.notes
    assert load() == dataset


def test_rates_and_floats_are_part_of_a_fingerprint(load, miniature):
    """The digest of a clip of a table may stay while its samples change."""

    def changed(**changes):
        read = Esc50.read_clip

        def altered(self, row):
            clip, digest = read(self, row)
            if row.filename != "3-3000-A-0.wav":
                return clip, digest
            return dataclasses.replace(clip, **changes), digest

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Esc50, "read_clip", altered)
            patch.setattr(Esc50, "identity", lambda self: {"a": str(changes)})
            found = fingerprints(load())
        return [split for split in first if first[split] != found[split]]

    first = fingerprints(load())
    assert changed(sample_rate=8000) == ["fold3"]
    assert changed(waveform=np.full(9, 1e-6, np.float32)) == ["fold3"]
    assert changed(waveform=np.full(9, 0.5, np.float32)) == []


# Bad clips.


def test_a_clip_that_is_too_long_to_be_stored_is_named(load, miniature, monkeypatch):
    monkeypatch.setattr(base, "MOST_BYTES", 30_000)
    path = miniature.audio("3-3011-A-11.wav")
    sf.write(path, np.zeros(2 * RATE, np.int16), RATE)
    with pytest.raises(InputError, match=r"3-3011-A-11: lasts 2 s and takes 176\.4 kB"):
        load()
    notes = load(on_bad="skip").notes
    assert "1 unreadable clip skipped: " in str(notes)


def test_a_bad_clip_stops_the_preparation(load, miniature):
    path = miniature.audio("3-3011-A-11.wav")
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InputError, match="cut short") as caught:
        load()
    assert str(caught.value).startswith(str(path))
    assert "on_bad='skip'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_clips_can_be_left_out(load, miniature, verbose, capsys):
    miniature.audio("3-3011-A-11.wav").write_bytes(b"")
    miniature.audio("5-5000-A-0.wav").write_text("not a sound")
    dataset = load(on_bad="skip")
    assert list(dataset.splits.values()) == [12, 12, 11, 12, 11]
    (note,) = [note for note in dataset.notes if "unreadable" in note]
    assert note.startswith("2 unreadable clips skipped: ")
    printed = [
        line for line in capsys.readouterr().err.splitlines() if "skipped" in line
    ]
    for name, line in zip(("3-3011-A-11", "5-5000-A-0"), printed, strict=True):
        path = str(miniature.audio(f"{name}.wav"))
        assert path in note
        assert path in line
    assert "3-3011-A-11" not in {clip.id for clip in dataset.source_of("fold3")}
    assert load(on_bad="skip") == dataset
    with pytest.raises(InputError):
        load()


def test_a_shard_without_a_readable_clip_is_left_out(
    load, miniature, monkeypatch, verbose, capsys
):
    monkeypatch.setattr(base, "SHARD", 4)
    monkeypatch.setattr(base, "_NAMED_AT_ONCE", 2)
    for target in (0, 1, 2, 10):  # All clips of the first shard of three.
        miniature.audio(f"3-{3000 + target}-A-{target}.wav").write_bytes(b"")
    dataset = load(on_bad="skip")
    (note,) = [note for note in dataset.notes if "unreadable" in note]
    assert note.startswith("4 unreadable clips skipped: ")
    assert note.endswith(" and 1 more")
    assert capsys.readouterr().err.count(": skipped ") == 2
    source = dataset.source_of("fold3")
    assert len(source) == 8
    assert next(iter(source)).id == "3-3011-A-11"


def test_a_split_without_a_readable_clip_is_refused(load, miniature):
    for path in miniature.root.glob("audio/3-*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no clip of fold3 can be read"):
        load(on_bad="skip")
