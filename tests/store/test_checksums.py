"""What stands in the place of something else is found, whatever its own checksums."""

import json
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pytest

from tests.store.fakes import fake_dataset, fake_encoder
from tests.store.random_store import change_manifest
from unmute_jax.store.damage import verify_store
from unmute_jax.store.embed import embed
from unmute_jax.store.estimate import estimate_store
from unmute_jax.store.files import DamagedStoreError, to_checked_json
from unmute_jax.store.layout import CHECKSUMS, Layout, checksum_file
from unmute_jax.store.manifest import new_manifest
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter

# A store that was written before shards were bound to their places: 70 clips.
UNBOUND = pathlib.Path("tests/data/stores/unbound.zip")
LAYOUT = Layout(clips=128, grid=(3, 2, 4), classes=3, dtype="int8", layers=2)
ARRAYS = tuple(LAYOUT.arrays)


def write(path, split="train", seed=0):
    """A store of two full shards with every array that there is."""
    key = {
        **{"format": 3, "dataset": "noise", "split": split, "dtype": "int8"},
        **{"encoder": {"name": "none"}, "layers": LAYOUT.layers},
    }
    facts = {"clips": LAYOUT.clips, "grid": LAYOUT.grid, "classes": ["a", "b", "c"]}
    writer, rng = TokenWriter(path, new_manifest(key, **facts)), np.random.default_rng
    for shard in LAYOUT.shards:
        draw, rows = rng([seed, shard]), {}
        for name, (shape, dtype) in LAYOUT.arrays.items():
            if name not in CHECKSUMS.values():
                x = 9 * draw.standard_normal((64, *shape[1:]))
                rows[name] = (x > 0 if dtype == "bool" else x).astype(dtype)
        clips = [{"id": f"{split} {shard} {i}", "events": []} for i in range(64)]
        writer.write(shard, rows, clips)
    return writer.finish().path


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root = tmp_path_factory.mktemp("stores")
    return write(root / "train"), write(root / "test", "test", seed=1)


@pytest.fixture
def path(stores, tmp_path):
    return shutil.copytree(stores[0], tmp_path / "train")


def read_everything(path):
    store = TokenStore.open(path)
    layers = {"layers": True}
    _ = store.labels, store.summary(), store.ids, store.pooled(slice(3, 70))
    _ = store.read([5, 127], **layers), store.load(**layers), store.tokens_of(slice(2))


def swap(a, b):
    data = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(data)


def assert_found(path, match):
    """Both --verify and reading find it, and the next pass would mend it."""
    with pytest.raises(DamagedStoreError, match=r"damaged.*embed again"):
        read_everything(path)
    assert marked(path)
    shutil.rmtree(path / "damaged")
    assert re.search(match, "\n".join(verify_store(path)))
    assert marked(path)


def marked(path):
    """The shards that the next pass computes again."""
    return sorted(p.name for p in path.glob("damaged/*"))


def test_a_store_with_everything_in_its_place_is_intact(path):
    read_everything(path)
    assert verify_store(path) == []
    assert not marked(path)


@pytest.mark.parametrize("name", [*ARRAYS, "clips"])
def test_two_shards_of_an_array_that_were_exchanged_are_found(path, name):
    files = [
        path / (f"clips/{shard}" if name == "clips" else LAYOUT.shard_file(name, shard))
        for shard in LAYOUT.shards
    ]
    swap(*files)
    place = "" if name in CHECKSUMS else rf" \(it belongs to {name} of shard 1\)"
    assert_found(path, rf"shard 0: .*{name}.*: not what was written there{place}")


@pytest.mark.parametrize("name", [*ARRAYS, "clips"])
def test_what_another_store_wrote_there_is_found(path, stores, name):
    shutil.copytree(stores[1] / name, path / name, dirs_exist_ok=True)
    assert_found(path, rf"shard 0: .*{name}.*: not what was written there")


def test_a_summary_in_the_place_of_another_is_found(path):
    for shard in LAYOUT.shards:
        swap(*(path / LAYOUT.shard_file(name, shard) for name in ("mean", "max")))
    assert_found(
        path,
        "shard 1: max: not what was written there .it belongs to mean of shard 1.; "
        "mean: not what was written there .it belongs to max of shard 1",
    )


def test_two_whole_shards_that_were_exchanged_are_found(path):
    for a, b in zip(
        *map(TokenStore.open(path).layout.shard_files, (0, 1)), strict=True
    ):
        swap(path / a, path / b)
    assert_found(path, "shard 0: checksums/0 belongs to shard 1")


def test_the_manifest_of_another_store_is_found(path, stores):
    shutil.copy(stores[1] / "manifest.json", path / "manifest.json")
    assert_found(
        path,
        r"shard 0: checksums/0 belongs to the tokens of noise train by none \(\w{16}\),"
        r" not of noise test by none",
    )


def test_a_missing_file_of_checksums_is_found(path):
    (path / checksum_file(1)).unlink()
    with pytest.raises(DamagedStoreError, match="checksums/1 is missing"):
        TokenStore.open(path)
    assert verify_store(path) == ["checksums/1 is missing"]


def test_two_stores_that_were_exchanged_as_a_whole_are_found(tmp_path):
    names = []
    for seed in (0, 1):
        encoder, dataset = fake_encoder(seed), fake_dataset(5)
        names.append(embed(encoder, dataset, "train", root=tmp_path, log=str).path)
    a, b = names
    a.rename(tmp_path / "old")
    assert verify_store(tmp_path / "old") == []
    b.rename(a)
    line = "it holds other tokens than its name says, those of"
    assert verify_store(a) == [f"{line} {b.name}: delete it"]


# Stores of earlier versions


@pytest.fixture
def unbound(tmp_path):
    with zipfile.ZipFile(UNBOUND) as file:
        file.extractall(tmp_path / "store")
    return tmp_path / "store"


def test_a_store_of_an_earlier_version_is_read(unbound):
    store = TokenStore.open(unbound)
    assert store.layout.bound_to == ""
    assert store.ids == [str(i) for i in range(70)]
    assert store.labels.sum() == 116
    tokens = store.read([69, 3])
    np.testing.assert_array_equal(tokens.patches, store.load().patches[[69, 3]])
    np.testing.assert_array_equal(store.tokens_of(slice(3, 4)).cls, tokens.cls[1:])


def test_verifying_binds_a_store_of_an_earlier_version(unbound):
    before = TokenStore.open(unbound).load()
    patches = unbound / "patches/c/0/0/0/0"
    content = patches.read_bytes()
    patches.write_bytes(content[:-1])
    assert len(verify_store(unbound)) == 1
    assert not (unbound / "checksums").exists()
    patches.write_bytes(content)
    shutil.rmtree(unbound / "damaged")
    assert verify_store(unbound) == []
    store = TokenStore.open(unbound)
    assert store.layout.bound_to.startswith("synthetic train by noise (")
    assert verify_store(unbound) == []
    np.testing.assert_array_equal(store.load().patches, before.patches)
    (unbound / "mean/c/0/0").write_bytes((unbound / "max/c/0/0").read_bytes())
    with pytest.raises(DamagedStoreError, match="mean of shard 0: not what"):
        TokenStore.open(unbound).summary()


def test_a_pass_goes_on_with_what_an_earlier_version_began(tmp_path):
    encoder, dataset, lines = fake_encoder(), fake_dataset(), []
    path = embed(encoder, dataset, "train", root=tmp_path, log=str).path
    whole = TokenStore.open(path).load()
    # As earlier versions left it: nothing names the place of a shard.
    shutil.rmtree(path / "checksums")
    (path / "patches/c/1/0/0/0").unlink()
    change_manifest(path, bound_to="", complete=False)
    assert estimate_store(encoder, dataset, "train", root=tmp_path)["resumable"] == 86
    dataset.opened.clear()
    store = embed(encoder, dataset, "train", root=tmp_path, log=lines.append)
    assert sorted(dataset.opened) == list(range(64, 128))
    np.testing.assert_array_equal(store.load().patches, whole.patches)
    embed(encoder, dataset, "train", root=tmp_path, log=lines.append)
    assert "an earlier version" in lines[-1]
    assert verify_store(path) == []
    embed(encoder, dataset, "train", root=tmp_path, log=lines.append)
    assert lines[-1] == f"tokens of fake/noise train: read from {path}"


def seal(path, **changes):
    """Changes a file of JSON, with a checksum that fits."""
    content = json.loads(path.read_bytes()) | changes
    del content["checksum"]
    path.write_bytes(to_checked_json(content))


@pytest.mark.parametrize(
    "chunks",
    [
        None,
        [],
        {"clips": ["xyz"]},
        {"clips": [7]},
        {"clips": []},
        {"patches_crc": ["00000000"], "other": ["00000000"]},
    ],
)
def test_checksums_of_another_form_are_damage(path, chunks):
    seal(path / checksum_file(1), chunks=chunks)
    assert "checksums/1" in refusal(path)


@pytest.mark.parametrize(
    "clips",
    [
        None,
        7,
        [],
        [{"id": "a", "events": []}],
        [{"id": 7, "events": []}] * 64,
        [{"id": "a"}] * 64,
        [{"id": "a", "events": [[3, 0.0, 1.0]]}] * 64,
        [{"id": "a", "events": [[0, "x", 1.0]]}] * 64,
        [{"id": "a", "events": [["ash", 0.0, 1.0]]}] * 64,
        [{"id": "a", "events": [[0, 0.0]]}] * 64,
    ],
)
def test_clips_of_another_form_are_damage(path, clips):
    seal(path / "clips/1", clips=clips)
    assert "clips/1" in refusal(path)


def refusal(path):
    """How reading refuses a store, as verifying does."""
    with pytest.raises(DamagedStoreError) as refused:
        _ = TokenStore.open(path).ids
    shutil.rmtree(path / "damaged")
    [fault] = verify_store(path)
    assert refused.value.why in fault
    return refused.value.why
