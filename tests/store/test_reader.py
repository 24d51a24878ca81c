"""A token store gives back what was written, or says what is wrong with it."""

import shutil

import ml_dtypes
import numpy as np
import pytest

from tests.store.fakes import fake_encoder
from tests.store.random_store import (
    CLIPS,
    GRID,
    assert_same_bits,
    cut_in_half,
    flip_a_bit,
    manifest,
    random_rows,
    write_random_store,
)
from unmute_jax.errors import InputError
from unmute_jax.store.files import DamagedStoreError
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter


@pytest.fixture(scope="module")
def rows():
    return random_rows()


@pytest.fixture(scope="module")
def store(tmp_path_factory, rows):
    """A store that no test changes."""
    return write_random_store(tmp_path_factory.mktemp("store") / "store", rows)


@pytest.fixture
def path(store, tmp_path):
    """A copy of the store that a test may damage."""
    return shutil.copytree(store.path, tmp_path / "store")


# What was written comes back


def test_read_returns_the_requested_rows_in_that_order(store, rows):
    index = np.random.default_rng(1).integers(CLIPS, size=100)
    tokens = TokenStore.open(store.path).read(index)
    for name in ("patches", "inverse_norms", "mask", "cls"):
        assert_same_bits(getattr(tokens, name), rows[name][index])
    assert tokens.patches.dtype == ml_dtypes.bfloat16


def test_load_and_summary_return_all_rows(store, rows):
    tokens, summary = store.load(), store.summary()
    for name in ("patches", "inverse_norms", "mask", "cls"):
        assert_same_bits(getattr(tokens, name), rows[name])
    for name in ("cls", "mean", "max", "std"):
        assert_same_bits(getattr(summary, name), rows[name])
    arrays = (tokens.patches, tokens.inverse_norms, tokens.mask, tokens.cls)
    assert store.nbytes() == sum(x.nbytes for x in arrays)


def test_pooled_returns_mean_and_cls_of_some_rows(store, rows):
    pooled = store.pooled(slice(60, 70))
    assert pooled.keys() == {"mean", "cls"}
    for name, x in pooled.items():
        assert_same_bits(x, rows[name][60:70])


def test_properties_say_what_the_store_holds(store, rows):
    assert (store.n, store.grid, store.dtype) == (CLIPS, GRID, ml_dtypes.bfloat16)
    assert store.classes == ("ash", "birch", "cedar")
    assert store.ids == [f"clip {i}" for i in range(CLIPS)]
    assert store.events[4] == ((1, 0.5, 1.5),)
    assert store.manifest["licence"] == "CC0"
    assert_same_bits(store.labels, rows["labels"])
    assert_same_bits(store.mask, rows["mask"])


def test_an_empty_request_returns_no_clips(store):
    assert store.read([]).patches.shape == (0, *GRID)


@pytest.mark.parametrize("index", [[0, CLIPS], [-1]])
def test_indices_outside_the_store_are_refused(store, index):
    with pytest.raises(IndexError, match=f"of {CLIPS}"):
        store.read(index)


def test_tokens_of_another_encoder_are_refused(store):
    store.check_encoder(fake_encoder().identity())
    with pytest.raises(InputError, match=r'weights: "untrained, seed 0" -> .*seed 1"'):
        store.check_encoder(fake_encoder(1).identity())


# Damaged stores


@pytest.mark.parametrize("harm", [flip_a_bit, cut_in_half, lambda _: b""])
@pytest.mark.parametrize("name", ["patches", "cls", "mean", "labels"])
def test_damage_to_a_shard_is_found(path, name, harm):
    (file,) = (p for p in (path / name / "c" / "1").rglob("0") if p.is_file())
    file.write_bytes(harm(file.read_bytes()))
    damaged = TokenStore.open(path)
    with pytest.raises(InputError, match=r"damaged.*embed again") as error:
        _ = damaged.read(np.arange(CLIPS)), damaged.summary(), damaged.labels
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_damage_to_one_clip_leaves_the_others(path, rows):
    file = path / "patches/c/1/0/0/0"
    file.write_bytes(flip_a_bit(file.read_bytes()))
    damaged = TokenStore.open(path)
    with pytest.raises(InputError):
        damaged.read(range(64, 128))
    assert_same_bits(damaged.read(range(64)).patches, rows["patches"][:64])


@pytest.mark.parametrize("name", ["patches/c/2/0/0/0", "std/c/0/0", "clips/1"])
def test_a_missing_file_is_found_on_opening(path, name):
    (path / name).unlink()
    with pytest.raises(InputError, match=f"damaged.*{name} is missing"):
        TokenStore.open(path)


@pytest.mark.parametrize("name", ["patches/c/2/0/0/0", "std/c/0/0", "clips/1"])
def test_a_file_that_goes_missing_after_opening_is_not_read_as_zeros(path, name):
    store = TokenStore.open(path)
    (path / name).unlink()
    with pytest.raises(DamagedStoreError, match="embed again"):
        _ = store.read([CLIPS - 1]), store.summary(), store.ids
    with pytest.raises(DamagedStoreError):
        TokenStore.open(path)


@pytest.mark.parametrize("name", ["manifest.json", "patches/zarr.json", "clips/0"])
def test_a_truncated_text_file_is_found(path, name):
    (path / name).write_bytes(cut_in_half((path / name).read_bytes()))
    with pytest.raises(InputError, match="damaged"):
        _ = (damaged := TokenStore.open(path)).load(), damaged.ids


def test_times_of_events_are_floats(tmp_path, rows):
    writer = TokenWriter(tmp_path / "store", manifest())
    clips = [{"id": f"clip {i}", "events": [[1, 0, 2]]} for i in range(CLIPS)]
    for shard in writer.layout.shards:
        where = writer.layout.rows(shard)
        part = {name: x[where] for name, x in rows.items()}
        writer.write(shard, part, clips[where])
    [(kind, onset, offset)] = writer.finish().events[0]
    assert [type(x) for x in (kind, onset, offset)] == [int, float, float]
