"""Listing, verifying and pruning of token stores."""

import json
import os
import re
import shutil
import time

import numpy as np
import pytest

from experiments.benchmarks.synthetic_store import write_store
from unmute_jax.errors import InputError
from unmute_jax.store import maintenance
from unmute_jax.store.files import DamagedStore, sealed
from unmute_jax.store.reader import TokenStore

GRID = (3, 2, 8)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "one", 70, "int8", GRID)


@pytest.fixture
def unfinished(tmp_path):
    """A store that a killed pass left: one of its two shards, no end."""
    store = write_store(tmp_path / "half", 70, "int8", GRID)
    (store.path / "patches/c/1/0/0/0").unlink()
    change_manifest(store.path, complete=False)
    return store


def change_manifest(path, **changes):
    manifest = json.loads((path / "manifest.json").read_bytes())
    del manifest["checksum"]
    (path / "manifest.json").write_bytes(sealed(manifest | changes))


def let_time_pass(path, seconds):
    then = time.time() - seconds
    for file in path.rglob("*"):
        os.utime(file, (then, then))


def files(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


# What is there


def test_a_list_says_what_each_store_is(store, unfinished, tmp_path):
    let_time_pass(unfinished.path, 3 * 86400 + 60)
    half, one = maintenance.list_stores(tmp_path)
    assert (one.path, one.key, one.clips, one.done) == (store.path, store.key, 70, 70)
    assert one.bytes == sum(p.stat().st_size for p in files(store.path))
    assert (half.complete, half.done) == (False, 64)
    head, *lines = maintenance.table([half, one]).splitlines()
    assert head.split()[:4] == ["tokens", "of", "encoder", "type"]
    assert re.fullmatch(
        r"synthetic train +noise +int8 +70 +\d+.\d kB +3.0 days ago +"
        r"unfinished, 64 clips are there +half",
        lines[0],
    )
    assert re.search(r" 70 .* s ago +complete +one$", lines[1])


def test_to_list_is_not_to_use(store, tmp_path):
    let_time_pass(store.path, 3 * 86400)
    for _ in range(2):
        (found,) = maintenance.list_stores(tmp_path)
        assert found.used > 2 * 86400
    os.utime(files(store.path / "patches")[0], (time.time(), 0))  # Somebody read it.
    (found,) = maintenance.list_stores(tmp_path)
    assert found.used < 60 < 2 * 86400 < found.written


def test_what_cannot_be_told_is_no_store_but_is_named(store, tmp_path):
    (tmp_path / "empty").mkdir()
    path = store.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"70 clips", b"71 clips"))
    assert maintenance.list_stores(tmp_path) == []
    assert maintenance.strays(tmp_path, []) == [tmp_path / "empty", store.path]
    assert maintenance.places(tmp_path) == [store.path]
    assert maintenance.list_stores(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match="no local folder"):
        maintenance.list_stores("gs://bucket/tokens")


# Damage


def test_every_altered_byte_is_found_and_none_is_read(store):
    assert maintenance.verify(store.path) == []
    wanted = store.read(np.arange(70)).patches
    rng = np.random.default_rng(0)
    there = files(store.path)
    for _ in range(40):
        file = there[rng.integers(len(there))]
        data = file.read_bytes()
        place = rng.integers(len(data))
        harmed = bytes([data[place] ^ int(rng.integers(1, 256))])
        file.write_bytes(data[:place] + harmed + data[place + 1 :])
        with pytest.raises(InputError):
            read_everything(store.path, wanted)
        assert len(maintenance.verify(store.path)) >= 1
        file.write_bytes(data)
        shutil.rmtree(store.path / "damaged", ignore_errors=True)


def read_everything(path, wanted):
    """All that training can read of a store; the tokens are never wrong."""
    store = TokenStore.open(path)
    np.testing.assert_array_equal(store.read(np.arange(store.n)).patches, wanted)
    _ = store.load(), store.summary(), store.labels, store.ids


def test_no_byte_of_a_manifest_can_be_altered(store):
    path = store.path / "manifest.json"
    data = path.read_bytes()
    place = data.index(b'"format": 3') + len(b'"format": ')
    path.write_bytes(data[:place] + b"2" + data[place + 1 :])
    with pytest.raises(DamagedStore, match=r"checksum of manifest.json"):
        TokenStore.open(store.path)
    assert "manifest.json" in maintenance.verify(store.path)[0]


def test_what_is_cut_short_or_gone_is_found_and_marked(store):
    file = store.path / "mean/c/1/0"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    (line,) = maintenance.verify(store.path)
    assert line.startswith("shard 1: ")
    assert [p.name for p in (store.path / "damaged").iterdir()] == ["1"]
    with pytest.raises(DamagedStore, match="shard 1"):
        TokenStore.open(store.path)
    assert maintenance.verify(store.path) == ["shard 1 was found damaged"]
    file.unlink()
    assert maintenance.verify(store.path) == ["mean/c/1/0 is missing"]


def test_damage_is_found_beside_a_damaged_description(store):
    for name in ("mean/zarr.json", "patches/c/1/0/0/0"):
        path = store.path / name
        path.write_bytes(b"?" + path.read_bytes()[1:])
    first, second = maintenance.verify(store.path)
    assert first.startswith("mean: ")
    assert second.startswith("shard 1: ")
    assert (store.path / "damaged/1").exists()


def test_an_unfinished_store_is_read_as_far_as_it_goes(unfinished):
    assert maintenance.verify(unfinished.path) == []
    (unfinished.path / "cls/c/0/0").write_bytes(b"short")
    assert maintenance.verify(unfinished.path)[0].startswith("shard 0: ")
    with pytest.raises(InputError, match="no token store"):
        maintenance.verify(unfinished.path.parent / "nowhere")


# What nothing uses


def run_folder(folder, **changes):
    config = {"dataset": "folder:/somewhere", "tokens": {"dtype": "int8"}}
    sources = {"encoder": {"name": "noise"}, "fingerprints": {"train": "70 clips"}}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "sources.json").write_text(json.dumps(sources | changes))
    return folder


def test_only_what_nothing_uses_is_unused(store, tmp_path):
    other = write_store(tmp_path / "two", 5, "int8", GRID)
    stores = maintenance.list_stores(tmp_path)
    run_folder(tmp_path / "runs/deep/run")
    runs = maintenance.uses_under(tmp_path / "runs")
    assert [s.path for s in maintenance.unused(stores, runs)] == [other.path]
    keep = [*runs, lambda s: s.path == other.path]
    assert maintenance.unused(stores, keep) == []
    changed = run_folder(tmp_path / "run 2", encoder={"name": "noise", "version": 2})
    assert len(maintenance.unused(stores, [maintenance.uses_of(changed)])) == 2
    (changed / "sources.json").write_text("cut sh")
    with pytest.raises(InputError, match="run 2 cannot be read"):
        maintenance.uses_under(tmp_path)


def test_of_other_formats_only_older_ones_are_unused(store, tmp_path):
    for other, unused in ((2, True), (4, False)):
        change_manifest(store.path, format=other)
        (found,) = maintenance.list_stores(tmp_path)
        assert f"format {other}" in found.state
        assert maintenance.unused([found], []) == ([found] if unused else [])


def test_what_may_be_being_written_is_told(store, unfinished, tmp_path):
    half, one = maintenance.list_stores(tmp_path)
    assert (half.may_be_being_written, one.may_be_being_written) == (True, False)
    let_time_pass(unfinished.path, 2 * maintenance.QUIET)
    half, _ = maintenance.list_stores(tmp_path)
    assert not half.may_be_being_written


def test_a_deletion_that_stops_leaves_something_to_delete(store, tmp_path, monkeypatch):
    (found,) = maintenance.list_stores(tmp_path)
    real = shutil.rmtree

    def stops(path):
        if path == store.path:
            raise PermissionError(13, "Permission denied", str(path))
        real(path)

    monkeypatch.setattr(shutil, "rmtree", stops)
    with pytest.raises(InputError, match="one: Permission denied"):
        maintenance.remove(found)
    monkeypatch.undo()
    (left,) = maintenance.list_stores(tmp_path)
    assert left.state == "damaged, 0 clips are there"
    with pytest.raises(DamagedStore):
        TokenStore.open(store.path)
    maintenance.remove(left)
    assert not store.path.exists()
