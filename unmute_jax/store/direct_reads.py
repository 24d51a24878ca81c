"""Reads clips from the files of a local disk without tensorstore.

tensorstore copies a chunk several times on its way, which takes a second of processor
time per gigabyte: more than a fast disk or the page cache needs. Here every clip is
read once, into its place.
"""

from __future__ import annotations

import functools
import pathlib
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorstore as ts
from jaxtyping import Int, UInt32

from unmute_jax.store.layout import CLIPS_PER_SHARD, CRC_BYTES, Layout

# Files that are read at a time: remote disks need many requests in flight.
READ_THREADS = 8


def read_clips(
    store: pathlib.Path,
    layout: Layout,
    name: str,
    rows: Int[np.ndarray, "B"],
    checksums: UInt32[np.ndarray, "B"],
) -> np.ndarray | None:
    """Reads clips from the files of a store straight into their batch.

    If a checksum does not match or anything else is odd, the caller reads through
    tensorstore, which knows the whole format and reports errors.

    Args:
        store: Folder of the store.
        layout: Layout of the store.
        name: Name of an array in which every clip is its own chunk.
        rows: Clips to read, at least one.
        checksums: CRC-32 of each of these clips.

    Returns:
        The clips, or None unless all of them are as they were written.
    """
    (_, *sizes), dtype = layout.arrays[name]
    out = np.empty((len(rows), *sizes), ts.dtype(dtype).numpy_dtype)
    raw = out.reshape(len(rows), -1).view(np.uint8)

    def read(k: int) -> bool:
        shard, i = divmod(int(rows[k]), CLIPS_PER_SHARD)
        path = store / layout.shard_file(name, shard)
        try:
            with path.open("rb", buffering=0) as file:
                # Clips lie in order, each followed by its checksum.
                file.seek(i * (raw.shape[1] + CRC_BYTES))
                count = file.readinto(raw[k].data)
        except OSError:
            return False
        return count == raw.shape[1] and zlib.crc32(raw[k].data) == int(checksums[k])

    return out if all(list(_read_pool().map(read, range(len(rows))))) else None


@functools.cache
def _read_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READ_THREADS, "clips")
