"""Caches, and files that are written atomically."""

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from unmute_jax import io
from unmute_jax.audio import read_audio
from unmute_jax.datasets.archives import unpack
from unmute_jax.datasets.finding import find_files
from unmute_jax.datasets.parquet import open_table
from unmute_jax.encoders.exported_files import open_file
from unmute_jax.errors import InputError
from unmute_jax.results.predictions import read_predictions
from unmute_jax.results.trained import load_trained
from unmute_jax.weights.files import read_weights


def test_a_url_is_no_folder_of_caches(monkeypatch):
    monkeypatch.setenv(io.CACHE_VARIABLE, "gs://bucket/caches")
    with pytest.raises(InputError, match="must be a folder"):
        io.cache_dir("tokens")
    monkeypatch.setenv(io.TOKENS_VARIABLE, "gs://bucket/tokens")
    assert io.token_root() == "gs://bucket/tokens"


def test_a_file_is_no_folder_of_caches(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv(io.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match="file: is a file, not a folder"):
        io.cache_dir("tokens")


def test_two_writers_with_the_same_process_id_do_not_meet(monkeypatch, tmp_path):
    # As in two containers that share a disk.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    target = tmp_path / "new" / "record.json"
    with io.writing(target) as first:
        first.write(b"first")
        io.write_atomically(target, "second")
        assert target.read_text() == "second"
    assert target.read_bytes() == b"first"
    assert os.listdir(target.parent) == [target.name]


def test_what_a_killed_writer_leaves_is_used_again(tmp_path):
    code = (
        "import os, signal, sys; from unmute_jax import io\n"
        "with io.writing(sys.argv[1]) as out:\n"
        "    out.write(b'half of it'); out.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    target = tmp_path / "a.json"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(target)], timeout=60)
        [left] = tmp_path.iterdir()
        assert left.read_bytes() == b"half of it"
    io.write_atomically(target, "whole")
    assert os.listdir(tmp_path) == ["a.json"]
    assert target.read_text() == "whole"


def test_no_link_in_place_of_a_temporary_file_is_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    target = tmp_path / "out" / "a.json"
    target.parent.mkdir()
    (target.parent / ".a.json.0.tmp").symlink_to(precious)
    (target.parent / ".a.json.1.tmp").hardlink_to(precious)
    io.write_atomically(target, "whole")
    assert target.read_text() == "whole"
    assert precious.read_text() == "kept"


def test_files_are_written_where_there_are_no_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
    left = tmp_path / ".a.json.0.tmp"
    left.write_text("of a process that may be alive")
    io.write_atomically(tmp_path / "a.json", "1")
    assert (tmp_path / "a.json").read_text() == "1"
    assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == [left]


def test_many_writers_of_one_file_all_finish_it(tmp_path):
    target = tmp_path / "a.json"

    def write(letter):
        for _ in range(30):
            io.write_atomically(target, letter * 5000)
            assert len(set(target.read_text())) == 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh"))
    assert os.listdir(tmp_path) == ["a.json"]
    assert len(target.read_text()) == 5000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("a/../../b", "leads out of its folder"),
        ("..", "leads out of its folder"),
        ("a\0b", r"'a\\x00b' has control characters"),
        ("a\nb", r"'a\\nb' has control characters"),
        ("./", "names no file"),
        ("", "names no file"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(name, reason):
    with pytest.raises(InputError, match=rf"^a\.tar: .*{reason}"):
        io.parts_inside(name, "a.tar")


def test_names_that_stay_inside_are_divided():
    assert io.parts_inside("./a//..b/Ä c:1.wav", "") == ("a", "..b", "Ä c:1.wav")


def test_a_file_that_is_not_finished_does_not_appear(tmp_path):
    def write_half():
        with io.writing(tmp_path / "a.json") as out:
            out.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert not list(tmp_path.iterdir())


def test_a_file_is_readable_by_those_who_may_read_its_folder(tmp_path):
    for folder, file in ((0o750, 0o640), (0o1777, 0o644)):
        tmp_path.chmod(folder)
        io.write_atomically(tmp_path / "a.json", "1")
        assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == file


@pytest.mark.parametrize("letter", ["L", "犬"])
def test_long_names_fit_and_stay_apart(tmp_path, letter):
    longest = letter * (250 // len(letter.encode()))
    io.write_atomically(tmp_path / f"{longest}.wav", "1")
    paths = [
        io.fitting(tmp_path / f"{longest}{end}.wav{suffix}")
        for end in ("", "a")
        for suffix in (".txt", ".jsonl")
    ]
    for path in paths:
        io.write_atomically(path, "1")
        assert path.name.startswith(letter * 70)
    assert len(set(paths)) == 4
    assert [path.suffix for path in paths] == [".txt", ".jsonl"] * 2
    # One recording has one name, whatever is written about it.
    assert paths[0].stem == paths[1].stem
    assert io.fitting(tmp_path / "dog.wav.txt") == tmp_path / "dog.wav.txt"


def test_a_pointer_of_git_lfs_is_called_that(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    path = tmp_path / "probe.safetensors"
    path.write_bytes(pointer)
    line = "is a Git LFS pointer, not the file: run `git lfs pull`"
    with pytest.raises(InputError, match=rf"probe\.safetensors: {line}"):
        io.refuse_lfs_pointer(path)
    with pytest.raises(InputError, match=rf"a\.zip: {line}"):
        io.refuse_lfs_pointer("a.zip", pointer)
    io.refuse_lfs_pointer("a.zip", b"PK")


@pytest.mark.parametrize(
    "read",
    [
        read_audio,
        read_weights,
        unpack,
        lambda path: find_files(path, "meta.csv"),
        open_table,
        open_file,
        load_trained,
        read_predictions,
    ],
)
def test_every_reader_knows_a_pointer(tmp_path, read):
    path = tmp_path / "file.npz"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"file\.npz:? is a Git LFS pointer"):
        read(path)


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, FULL),
        RuntimeError(f"write() failed: {FULL}"),
        ValueError(f"RESOURCE_EXHAUSTED: Failed to write: {FULL} [os_error_code='28']"),
    ],
)
def test_a_full_disk_is_named_whoever_meets_it(tmp_path, monkeypatch, error):
    monkeypatch.setattr(
        "shutil.disk_usage", lambda folder: SimpleNamespace(free=12_000)
    )

    def write_half():
        with io.writing(tmp_path / "a.csv") as out:
            out.write(b"1")
            raise error

    with pytest.raises(OSError, match="No space") as caught:
        write_half()
    assert not list(tmp_path.iterdir())
    line = f"{tmp_path}/a.csv: {FULL} (12.0 kB are not enough)"
    assert io.describe_fault(caught.value) == line
    monkeypatch.setenv(io.CACHE_VARIABLE, str(tmp_path))
    advice = "UNMUTE_CACHE names another folder for all caches"
    assert io.describe_fault(caught.value) == f"{line}; {advice}"
    monkeypatch.setenv(io.TOKENS_VARIABLE, str(tmp_path))
    assert "; UNMUTE_TOKENS names another" in io.describe_fault(caught.value)


def test_other_errors_are_no_faults_of_the_disk(tmp_path):
    with pytest.raises(KeyError), io.naming_disk_faults(tmp_path):
        raise KeyError("no space")
    with pytest.raises(InputError), io.naming_disk_faults(tmp_path):
        raise InputError(FULL)
    assert io.disk_fault(KeyError(1)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 1}}', "it has 'c' twice"),
        ('[1, {"a": NaN}]', "the number NaN, which is not finite"),
        ("[-Infinity]", "the number -Infinity, which is not finite"),
        ("[1e999]", "the number 1e999, which is not finite"),
        (r'{"a": "\ud800"}', "surrogates not allowed"),
        (b'["\xed\xa0\x80"]', "can't decode byte"),
        ("[" * 51 + "]" * 51, "it is nested too deeply"),
        ("[" * 10_000, "it is nested too deeply"),
        ('{"a":' * 10_000, "it is nested too deeply"),
        ("[1" + "0" * 5000 + "]", "integer string conversion"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_not_valid_or_too_deep_is_refused(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        io.parse_json(text)
    assert str(caught.value).isprintable()


def test_valid_json_is_parsed_as_usual():
    text = '{"a": [1, 2.5, null, true, "\\u00e9\\ud83d\\ude00"], "b": {"a": 1e-400}}'
    assert io.parse_json(text) == json.loads(text)
    assert io.parse_json(text.encode()) == json.loads(text)
