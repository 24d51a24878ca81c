"""Damage in a store is found, marked, and never read."""

import shutil

import numpy as np
import pytest

from experiments.benchmarks.synthetic_store import write_store
from tests.store.random_store import change_manifest
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.reader import TokenStore


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", 70, "int8", (3, 2, 8))


def files(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def test_every_altered_byte_is_found_and_never_read(store):
    assert verify_store(store.path) == []
    wanted = store.read(np.arange(70)).patches
    rng = np.random.default_rng(0)
    there = files(store.path)
    for _ in range(20):
        file = there[rng.integers(len(there))]
        data = file.read_bytes()
        place = rng.integers(len(data))
        harmed = bytes([data[place] ^ int(rng.integers(1, 256))])
        file.write_bytes(data[:place] + harmed + data[place + 1 :])
        with pytest.raises(InputError):
            read_everything(store.path, wanted)
        assert len(verify_store(store.path)) >= 1
        file.write_bytes(data)
        shutil.rmtree(store.path / "damaged", ignore_errors=True)


def read_everything(path, wanted):
    """Reads all that training can read; the tokens are never wrong."""
    store = TokenStore.open(path)
    np.testing.assert_array_equal(store.read(np.arange(store.n)).patches, wanted)
    _ = store.load(), store.summary(), store.labels, store.ids


def test_an_altered_manifest_is_found(store):
    path = store.path / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 3', b'"format": 2'))
    assert "manifest.json" in verify_store(store.path)[0]


def test_truncated_and_missing_files_are_found_and_marked(store):
    file = store.path / "mean/c/1/0"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    (line,) = verify_store(store.path)
    assert line.startswith("shard 1: ")
    assert [p.name for p in (store.path / "damaged").iterdir()] == ["1"]
    with pytest.raises(DamagedStoreError, match="shard 1"):
        TokenStore.open(store.path)
    assert verify_store(store.path) == ["shard 1 was found damaged"]
    file.unlink()
    assert verify_store(store.path) == ["mean/c/1/0 is missing"]


def test_damage_is_found_beside_a_damaged_description(store):
    for name in ("mean/zarr.json", "patches/c/1/0/0/0"):
        path = store.path / name
        path.write_bytes(b"?" + path.read_bytes()[1:])
    first, second = verify_store(store.path)
    assert first.startswith("mean: ")
    assert second.startswith("shard 1: ")
    assert (store.path / "damaged/1").exists()


def test_an_unfinished_store_is_read_as_far_as_it_goes(store):
    path = store.path
    (path / "patches/c/1/0/0/0").unlink()
    change_manifest(path, complete=False)
    assert verify_store(path) == []
    (path / "cls/c/0/0").write_bytes(b"short")
    assert verify_store(path)[0].startswith("shard 0: ")
    with pytest.raises(InputError, match="no token store"):
        verify_store(path.parent / "nowhere")
