"""Clips straight out of the files of a local disk, into the batch they are for.

tensorstore copies a chunk several times on its way and takes a second of processor time
per gigabyte; that is more than a fast disk or the page cache needs. Here a clip is read
once, into its place. Where its CRC-32 is not the one beside the store's tokens, or
anything else is odd, nobody decides anything: tensorstore is asked, which knows all
about the format.
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

# A disk that is far away wants many questions at once.
THREADS = 8


def checks_of(rows: np.ndarray) -> UInt32[np.ndarray, "B"]:
    """The CRC-32 of every clip."""
    found = [zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data) for x in rows]
    return np.asarray(found, np.uint32)


def read_clips(
    path: pathlib.Path,
    layout: Layout,
    name: str,
    rows: Int[np.ndarray, "B"],
    checks: UInt32[np.ndarray, "B"],
) -> np.ndarray | None:
    """The clips `rows` of an array; None unless all of them are as they were written.

    Args:
        path: The folder of the store.
        layout: Of the store.
        name: Of an array in which every clip is its own chunk.
        rows: At least one.
        checks: Their CRC-32.
    """
    (_, *sizes), dtype = layout.arrays[name]
    out = np.empty((len(rows), *sizes), ts.dtype(dtype).numpy_dtype)
    raw = out.reshape(len(rows), -1).view(np.uint8)

    def read(k: int) -> bool:
        shard, i = divmod(int(rows[k]), CLIPS_PER_SHARD)
        file = path / layout.file(name, shard)
        try:
            with file.open("rb", buffering=0) as opened:
                # Clips are in order, a checksum behind each.
                opened.seek(i * (raw.shape[1] + CRC_BYTES))
                count = opened.readinto(raw[k].data)
        except OSError:
            return False
        return count == raw.shape[1] and zlib.crc32(raw[k].data) == int(checks[k])

    return out if all(list(_pool().map(read, range(len(rows))))) else None


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "clips")
