"""Clips on a local disk are read without tensorstore, or not at all."""

import zlib

import numpy as np
import pytest

from tests.store.random_store import (
    assert_same_bits,
    cut_in_half,
    flip_a_bit,
    random_rows,
    write_random_store,
)
from unmute_jax.store.direct_reads import read_clips
from unmute_jax.store.reader import TokenStore

CHOSEN = np.asarray([70, 3, 136, 3])


@pytest.fixture(scope="module")
def rows():
    return random_rows()


@pytest.fixture
def path(tmp_path, rows):
    return write_random_store(tmp_path / "store", rows).path


def test_clips_on_a_local_disk_do_not_pass_through_tensorstore(path, rows):
    store = TokenStore.open(path)
    store.read([0])
    fetched = []
    object.__setattr__(store, "_fetch_clips", lambda name, *_: fetched.append(name))
    assert_same_bits(store.read(CHOSEN).patches, rows["patches"][CHOSEN])
    assert fetched == []


@pytest.mark.parametrize("harm", [flip_a_bit, cut_in_half, None])
def test_clips_that_are_not_as_they_were_written_are_not_returned(path, rows, harm):
    layout, shard = TokenStore.open(path).layout, np.arange(64, 128)
    checksums = np.asarray(
        [zlib.crc32(x.tobytes()) for x in rows["patches"][shard]], np.uint32
    )
    read = read_clips(path, layout, "patches", shard, checksums)
    assert_same_bits(read, rows["patches"][shard])
    file = path / layout.shard_file("patches", 1)
    content = file.read_bytes()
    file.unlink()
    if harm is not None:
        file.write_bytes(harm(content))
    assert read_clips(path, layout, "patches", shard, checksums) is None
