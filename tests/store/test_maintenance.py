"""Token stores are listed, found to be unused, and deleted."""

import json
import os
import re
import shutil
import time

import pytest

from experiments.benchmarks.synthetic_store import write_store
from tests.store.fakes import fake_dataset, fake_encoder
from tests.store.random_store import change_manifest, manifest
from unmute_jax.errors import InputError
from unmute_jax.store import maintenance
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.key import store_key, store_path
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter

GRID = (3, 2, 8)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "one", 70, "int8", GRID)


@pytest.fixture
def unfinished(tmp_path):
    """What a killed pass left of a store: one of its two shards."""
    store = write_store(tmp_path / "half", 70, "int8", GRID)
    (store.path / "patches/c/1/0/0/0").unlink()
    change_manifest(store.path, complete=False)
    return store


def let_time_pass(path, seconds):
    then = time.time() - seconds
    for file in path.rglob("*"):
        os.utime(file, (then, then))


def files(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


# Lists of stores


def test_the_table_describes_each_store(store, unfinished, tmp_path):
    let_time_pass(unfinished.path, 3 * 86400 + 60)
    half, one = maintenance.list_stores(tmp_path)
    assert (one.path, one.key, one.clips, one.done) == (store.path, store.key, 70, 70)
    assert one.bytes == sum(p.stat().st_size for p in files(store.path))
    assert (half.complete, half.done) == (False, 64)
    head, *lines = maintenance.format_table([half, one]).splitlines()
    assert head.split()[:4] == ["tokens", "of", "encoder", "type"]
    assert re.fullmatch(
        r"synthetic train +noise +int8 +70 +\d+.\d kB +3.0 days ago +"
        r"unfinished, 64 clips are there +half",
        lines[0],
    )
    assert re.search(r" 70 .* s ago +complete +one$", lines[1])


def test_listing_a_store_does_not_count_as_using_it(store, tmp_path):
    let_time_pass(store.path, 3 * 86400)
    for _ in range(2):
        (found,) = maintenance.list_stores(tmp_path)
        assert found.used > 2 * 86400
    os.utime(files(store.path / "patches")[0], (time.time(), 0))  # Somebody read it.
    (found,) = maintenance.list_stores(tmp_path)
    assert found.used < 60 < 2 * 86400 < found.written


def test_folders_without_a_readable_manifest_are_not_listed_as_stores(store, tmp_path):
    (tmp_path / "empty").mkdir()
    path = store.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"70 clips", b"71 clips"))
    assert maintenance.list_stores(tmp_path) == []
    assert maintenance.unrecognised_folders(tmp_path, []) == [
        tmp_path / "empty",
        store.path,
    ]
    assert maintenance.store_folders(tmp_path) == [store.path]
    assert maintenance.list_stores(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match="not a local folder"):
        maintenance.list_stores("gs://bucket/tokens")


def test_a_miss_is_explained_by_the_most_similar_store_of_the_same_split(tmp_path):
    for seed, dtype in ((1, "float32"), (1, "bfloat16")):
        key = store_key(fake_encoder(seed), fake_dataset(), "train", dtype)
        TokenWriter(store_path(tmp_path, key), manifest() | {"key": key})
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "manifest.json").write_text("[]")
    wanted = store_key(fake_encoder(), fake_dataset(), "train")
    (line,) = maintenance.explain_miss(tmp_path, wanted)
    assert 'weights: "untrained, seed 1" -> "untrained, seed 0"' in line
    other = wanted | {"split": "test"}
    (line,) = maintenance.explain_miss(tmp_path, other)
    assert "no tokens of fake/noise test by fake+" in line


# Unused stores


def run_folder(folder, **changes):
    config = {"dataset": "folder:/somewhere", "tokens": {"dtype": "int8"}}
    sources = {"encoder": {"name": "noise"}, "fingerprints": {"train": "70 clips"}}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "sources.json").write_text(json.dumps(sources | changes))
    return folder


def test_only_stores_without_any_use_are_unused(store, tmp_path):
    other = write_store(tmp_path / "two", 5, "int8", GRID)
    stores = maintenance.list_stores(tmp_path)
    run_folder(tmp_path / "runs/deep/run")
    runs = maintenance.used_by_runs(tmp_path / "runs")
    assert [s.path for s in maintenance.unused(stores, runs)] == [other.path]
    keep = [*runs, lambda s: s.path == other.path]
    assert maintenance.unused(stores, keep) == []
    changed = run_folder(tmp_path / "run 2", encoder={"name": "noise", "version": 2})
    assert len(maintenance.unused(stores, [maintenance.used_by_run(changed)])) == 2
    (changed / "sources.json").write_text("cut sh")
    with pytest.raises(InputError, match="run 2 cannot be read"):
        maintenance.used_by_runs(tmp_path)


def test_stores_of_older_formats_are_unused_and_of_newer_ones_are_not(store, tmp_path):
    for other, unused in ((2, True), (4, False)):
        change_manifest(store.path, format=other)
        (found,) = maintenance.list_stores(tmp_path)
        assert f"format {other}" in found.state
        assert maintenance.unused([found], []) == ([found] if unused else [])


def test_a_recent_unfinished_store_may_still_be_written(store, unfinished, tmp_path):
    half, one = maintenance.list_stores(tmp_path)
    assert (half.may_still_be_written, one.may_still_be_written) == (True, False)
    let_time_pass(unfinished.path, 2 * maintenance.ABANDONED_AFTER)
    half, _ = maintenance.list_stores(tmp_path)
    assert not half.may_still_be_written


def test_an_interrupted_deletion_can_be_continued(store, tmp_path, monkeypatch):
    (found,) = maintenance.list_stores(tmp_path)
    real = shutil.rmtree

    def interrupted(path):
        if path == store.path:
            raise PermissionError(13, "Permission denied", str(path))
        real(path)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(InputError, match="one: Permission denied"):
        maintenance.remove(found)
    monkeypatch.undo()
    (left,) = maintenance.list_stores(tmp_path)
    assert left.state == "damaged, 0 clips are there"
    with pytest.raises(DamagedStoreError):
        TokenStore.open(store.path)
    maintenance.remove(left)
    assert not store.path.exists()
