"""A store is written shard by shard, and a shard counts only with all its arrays."""

import numpy as np
import pytest

from tests.store.random_store import (
    CLIPS,
    assert_same_bits,
    clip_records,
    manifest,
    random_rows,
    write_random_store,
    write_shard,
)
from unmute_jax.errors import InputError
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import TokenWriter, to_store_arrays
from unmute_jax.tokens import Tokens


@pytest.fixture(scope="module")
def rows():
    return random_rows()


def test_tokens_that_are_all_zeros_are_stored(tmp_path, rows):
    zero = {k: np.zeros_like(x) for k, x in rows.items()}
    store = write_random_store(tmp_path, zero)
    assert_same_bits(store.load().patches, zero["patches"])


@pytest.mark.parametrize("broken", random_rows())
def test_a_shard_is_done_only_with_all_its_arrays(tmp_path, rows, broken):
    writer = TokenWriter(tmp_path, manifest())
    write_shard(writer, 1, rows)
    where = writer.layout.rows(0)
    part = {k: x[where] for k, x in rows.items()}
    part[broken] = part[broken][:-1]  # The write stops there.
    with pytest.raises(RuntimeError, match=rf"rows of {broken}(_crc)? are \(63,"):
        writer.write(0, part, clip_records()[where])
    assert TokenWriter(tmp_path, manifest()).pending() == [0, 2]
    with pytest.raises(InputError, match=rf"unfinished \(64 of {CLIPS} clips\)"):
        TokenStore.open(tmp_path)


def test_finish_refuses_a_store_with_missing_shards(tmp_path, rows):
    writer = TokenWriter(tmp_path, manifest())
    write_shard(writer, 0, rows)
    with pytest.raises(RuntimeError, match=r"\[1, 2\]"):
        writer.finish()


def test_a_disk_that_refuses_gives_one_line(tmp_path):
    (tmp_path / "store").write_text("a file in the place of the folder")
    with pytest.raises(InputError, match="store: Not a directory"):
        TokenWriter(tmp_path / "store", manifest())


def test_short_tokens_are_followed_by_masked_steps():
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((2, 3, 2, 4), np.float32)
    tokens = Tokens(patches=patches, cls=patches[:, 0, 0], mask=np.ones((2, 3), bool))
    short, long = (to_store_arrays(tokens, "float32", steps) for steps in (3, 5))
    assert_same_bits(long["patches"][:, :3], patches)
    assert not np.asarray(long["patches"][:, 3:]).any()
    np.testing.assert_array_equal(long["mask"], [[True] * 3 + [False] * 2] * 2)
    np.testing.assert_allclose(long["mean"], short["mean"], rtol=1e-6)
    np.testing.assert_allclose(long["band_std"], short["band_std"], rtol=1e-6)


def test_clips_with_values_that_are_not_finite_are_reported():
    patches = np.ones((3, 2, 1, 4), np.float32)
    patches[1, 1, 0, 2] = np.inf
    cls = np.ones((3, 4), np.float32)
    cls[2, 0] = np.nan
    tokens = Tokens(patches=patches, cls=cls, mask=np.ones((3, 2), bool))
    arrays = to_store_arrays(tokens, "bfloat16", 2)
    np.testing.assert_array_equal(arrays["finite"], [True, False, False])
