"""Binds the content of a store to its place: the store, the shard and the array.

The checksum that zarr keeps beside a chunk says that its bytes are some that were once
written. The file of another shard, array or store passes this test. So each shard has a
file `checksums/SHARD` that names the store and the shard, and holds the CRC-32 of every
chunk that belongs there:

    {"store": "...", "shard": 3, "chunks": {"labels": ["00c0ffee"], ...}}

A chunk is one clip of the arrays in `CHUNKED_BY_CLIP`, and all clips of the shard
otherwise. The checksums of patches and of layers are in arrays of their own
(`patches_crc`, `layers_crc`), whose chunks have a checksum here.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt32

from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    from_checked_json,
    read_file,
    to_checked_json,
)
from unmute_jax.store.layout import (
    CHECKSUMS,
    CHUNKED_BY_CLIP,
    Layout,
    checksum_file,
)

# The checksums of the chunks of one shard, by array; "clips" stands for `clips/SHARD`.
ShardChecksums = dict[str, list[int]]


def chunk_checksums(name: str, rows: np.ndarray) -> list[int]:
    """Returns the CRC-32 of each chunk of an array.

    Args:
        name: Name of the array.
        rows: Clips of an array that is chunked by clip; of another one, all clips of
            one shard.
    """
    chunks = rows if name in CHUNKED_BY_CLIP else [rows]
    return [zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data) for x in chunks]


def first_misplaced(
    name: str, rows: np.ndarray, expected: Sequence[int] | UInt32[np.ndarray, "B"]
) -> int | None:
    """Returns the position of the first chunk that is not the expected one, if any.

    Args:
        name: Name of the array.
        rows: Its rows, as `chunk_checksums` takes them.
        expected: Checksum of each chunk.
    """
    wrong = np.not_equal(chunk_checksums(name, rows), expected)
    return int(wrong.argmax()) if wrong.any() else None


def encode_checksums(layout: Layout, shard: int, checksums: ShardChecksums) -> bytes:
    """Returns the content of `checksums/SHARD`.

    Args:
        layout: Layout of the store.
        shard: Index of the shard.
        checksums: Checksums of the chunks of the shard. Those of patches and of layers
            are left out.
    """
    listed = sorted(checksums.keys() - CHECKSUMS.keys())
    # Eight digits each, so that the size of the file depends on the layout alone.
    chunks = {name: [f"{crc:08x}" for crc in checksums[name]] for name in listed}
    return to_checked_json({"store": layout.bound_to, "shard": shard, "chunks": chunks})


def decode_checksums(
    store: PathOrUrl, layout: Layout, shard: int, data: bytes
) -> ShardChecksums:
    """Decodes `checksums/SHARD`.

    Raises:
        DamagedStoreError: If it is missing, was altered or belongs to another place.
    """
    name = checksum_file(shard)
    if not data:
        raise DamagedStoreError(store, f"{name} is missing or empty")
    try:
        content = from_checked_json(data)
        chunks = content["chunks"]
        found = {array: [int(crc, 16) for crc in chunks[array]] for array in chunks}
        _ = content["store"], content["shard"]
    # Its checksum shows that it is as it was written, but not by whom.
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(store, f"{name}: {error}") from error
    if content["store"] != layout.bound_to:
        why = f"{name} belongs to the tokens of {content['store']}"
        raise DamagedStoreError(store, f"{why}, not of {layout.bound_to}")
    if content["shard"] != shard:
        why = f"{name} belongs to shard {content['shard']}"
        raise DamagedStoreError(store, why)
    clips = layout.count_clips([shard])
    counts = {
        array: clips if array in CHUNKED_BY_CLIP else 1
        for array in ("clips", *layout.arrays)
        if array not in CHECKSUMS
    }
    if {array: len(crcs) for array, crcs in found.items()} != counts:
        raise DamagedStoreError(store, f"{name} is of other arrays or clips")
    return found


def read_checksums(store: PathOrUrl, layout: Layout, shard: int) -> ShardChecksums:
    """Reads `checksums/SHARD`.

    Raises:
        DamagedStoreError: If it is missing, was altered or belongs to another place.
    """
    data = read_file(store, checksum_file(shard)) or b""
    return decode_checksums(store, layout, shard, data)


def decode_clips(
    store: PathOrUrl,
    layout: Layout,
    shard: int,
    data: bytes,
    checksums: ShardChecksums | None = None,
) -> list[dict[str, Any]]:
    """Decodes `clips/SHARD`.

    Args:
        store: Folder or URL of the store.
        layout: Layout of the store.
        shard: Index of the shard.
        data: Content of the file, empty if it is missing.
        checksums: What belongs to the shard, where the store says it.

    Raises:
        DamagedStoreError: If it is missing, was altered or belongs to another place.
    """
    name = f"clips/{shard}"
    if not data:
        raise DamagedStoreError(store, f"{name} is missing or empty")
    try:
        clips = from_checked_json(data)["clips"]
        right = [_is_clip(clip, layout.classes) for clip in clips]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(store, f"{name}: {error}") from error
    if not all(right) or len(right) != layout.count_clips([shard]):
        raise DamagedStoreError(store, f"{name} does not describe the clips")
    if checksums is not None and checksums["clips"] != [zlib.crc32(data)]:
        raise DamagedStoreError(store, f"{name}: not what was written there")
    return clips


def _is_clip(clip: Any, classes: int) -> bool:
    """Whether a value has the id and the events of a clip."""
    if not isinstance(clip, dict) or not isinstance(clip.get("id"), str):
        return False
    events = clip.get("events")
    return isinstance(events, list) and all(_is_event(e, classes) for e in events)


def _is_event(event: Any, classes: int) -> bool:
    """Whether a value is the class, the onset and the offset of an event."""
    if not isinstance(event, list) or [type(x) for x in event[:1]] != [int]:
        return False
    times = event[1:]
    are_numbers = all(type(x) in (int, float) for x in times)
    return len(times) == 2 and are_numbers and 0 <= event[0] < classes
