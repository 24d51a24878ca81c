"""The layout follows from the sizes, and tells which shards are usable."""

import pytest

from tests.store.random_store import CLIPS, random_rows, write_random_store
from unmute_jax.store.damage import verify_store
from unmute_jax.store.files import DamagedStoreError, write_file
from unmute_jax.store.layout import (
    CLIPS_PER_SHARD,
    DAMAGE_MARKS,
    Layout,
    is_shard_finished,
    unusable_shards,
)
from unmute_jax.store.reader import TokenStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_random_store(tmp_path_factory.mktemp("store"), random_rows())


def test_shards_cover_all_clips(store):
    layout = store.layout
    rows = [layout.rows(shard) for shard in layout.shards]
    assert [r.start for r in rows] == [0, 64, 128]
    assert rows[-1].stop == CLIPS
    assert layout.count_clips([0, 2]) == CLIPS_PER_SHARD + 9


def test_layers_and_scales_are_stored_only_where_they_exist():
    sizes = {"clips": 9, "grid": (5, 2, 6), "classes": 3}
    plain = Layout(**sizes, dtype="float32").arrays
    full = Layout(**sizes, dtype="int8", layers=4).arrays
    assert full["layers"] == ((9, 4, 5, 2, 6), "int8")
    assert full["layer_scales"] == ((9, 4, 5, 2), "float32")
    assert full["scales"] == ((9, 5, 2), "float32")
    extra = {"scales", "layers", "layers_crc", "layer_scales", "layer_cls"}
    assert full.keys() - plain.keys() == extra


def test_the_size_on_disk_is_known(store):
    arrays = (p for p in store.path.glob("*/c/**/*") if p.is_file())
    assert store.layout.disk_bytes == sum(p.stat().st_size for p in arrays)
    names = {n for s in store.layout.shards for n in store.layout.shard_files(s)}
    described = {f"{name}/zarr.json" for name in store.layout.arrays}
    paths = (p for p in store.path.rglob("*") if p.is_file())
    assert {str(p.relative_to(store.path)) for p in paths} == {
        "manifest.json", *names, *described
    }  # fmt: skip


def test_missing_and_marked_shards_are_unusable(store):
    path, layout = store.path, store.layout
    assert unusable_shards(path, layout) == {}
    assert all(is_shard_finished(path, layout, shard) for shard in layout.shards)
    (path / layout.shard_file("std", 1)).unlink()
    write_file(path, f"{DAMAGE_MARKS}2", b"")
    assert unusable_shards(path, layout) == {
        1: "std/c/1/0 is missing",
        2: "shard 2 was found damaged",
    }
    finished = [is_shard_finished(path, layout, shard) for shard in layout.shards]
    assert finished == [True, False, False]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a":' * 100_000 + b"0" + b"}" * 100_000, "it is nested too deeply"),
        (b"{", "patches/zarr.json is not JSON"),
        (None, "patches/zarr.json is missing"),
        (b'{"zarr_format": 2}', "FAILED_PRECONDITION"),
    ],
)
def test_a_damaged_description_of_an_array_is_one_short_line(tmp_path, content, why):
    # Without a limit of its depth, the first one would end the process.
    path = write_random_store(tmp_path / "store", random_rows()).path
    file = path / "patches" / "zarr.json"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(DamagedStoreError, match=why) as refused:
        TokenStore.open(path)
    assert len(refused.value.why) < 250
    assert refused.value.why.isprintable()
    assert any(why in fault for fault in verify_store(path))
