"""A store of random numbers, written without an encoder."""

import json

import ml_dtypes
import numpy as np

from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.store.key import store_key
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.store.manifest import MANIFEST, new_manifest, write_manifest
from unmute_jax.store.writer import TokenWriter

# Three shards, the last one ragged.
CLIPS = 2 * CLIPS_PER_SHARD + 9
GRID = (5, 2, 6)


def manifest(**changes):
    return new_manifest(
        store_key(fake_encoder(), fake_dataset(CLIPS), "train"),
        clips=CLIPS,
        grid=GRID,
        classes=("ash", "birch", "cedar"),
        **changes,
    )


def random_rows(seed=0):
    """Random rows for every array of the store except the checksums."""
    rng = np.random.default_rng(seed)
    rows = {}
    for name, (shape, dtype) in Layout.from_manifest(manifest()).arrays.items():
        if name == "patches_crc":
            continue
        x = rng.standard_normal(shape, np.float32)
        if dtype in ("bool", "uint8"):
            x = x > 0
        rows[name] = x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return rows


def clip_records():
    return [{"id": f"clip {i}", "events": [[i % 3, 0.5, 1.5]]} for i in range(CLIPS)]


def write_shard(writer, shard, rows):
    where = writer.layout.rows(shard)
    writer.write(shard, {k: x[where] for k, x in rows.items()}, clip_records()[where])


def write_random_store(path, rows):
    writer = TokenWriter(path, manifest(licence="CC0"))
    for shard in (1, 0, 2):
        write_shard(writer, shard, rows)
    return writer.finish()


def change_manifest(path, **changes):
    changed = json.loads((path / MANIFEST).read_bytes()) | changes
    del changed["checksum"]
    write_manifest(path, changed)


def assert_same_bits(x, y):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype
    np.testing.assert_array_equal(x, y)


def flip_a_bit(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut_in_half(data):
    return data[: len(data) // 2]
