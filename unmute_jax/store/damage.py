"""Finds damage in token stores and marks damaged shards, to be recomputed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import tensorstore as ts

from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    from_checked_json,
    read_file,
    translate_errors,
    write_file,
)
from unmute_jax.store.layout import (
    CHUNKED_BY_CLIP,
    DAMAGE_MARKS,
    Layout,
    open_arrays,
    unusable_shards,
)
from unmute_jax.store.manifest import read_manifest

# Clips of a large array that are read at a time. With 13 layers, a clip of 10 s takes
# 10 MB.
CLIPS_PER_READ = 16


def verify_store(path: PathOrUrl) -> list[str]:
    """Reads every byte of a store and marks damaged shards, to be recomputed.

    An unfinished store is read as far as it goes.

    Returns:
        One line for every fault.

    Raises:
        InputError: If there is no store, or it is of another format or cannot be read.
    """
    try:
        manifest = read_manifest(path)
    except DamagedStoreError as error:
        return [error.why]
    if manifest is None:
        raise InputError(f"there is no token store at {path}")
    layout = Layout.from_manifest(manifest)
    arrays, faults = {}, []
    for name in layout.arrays:
        try:
            arrays |= open_arrays(path, layout, [name])
        except DamagedStoreError as error:
            faults.append(f"{name}: {error.why}")
    unusable = unusable_shards(path, layout)
    if manifest["complete"]:
        faults += unusable.values()
    with progress(f"verifying {path}", len(layout.shards), unit="shards") as advance:
        for shard in layout.shards:
            if shard not in unusable:
                faults += _mark_if_damaged(path, layout, arrays, shard)
            advance(1)
    return faults


def mark_damage(path: PathOrUrl, layout: Layout, shards: Iterable[int]) -> None:
    """Reads some shards again and marks those that are damaged.

    The next `embed` recomputes marked shards. A store that cannot be written to stays
    without marks.
    """
    arrays = open_arrays(path, layout)
    for shard in shards:
        _mark_if_damaged(path, layout, arrays, shard)


def _mark_if_damaged(
    path: PathOrUrl, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> list[str]:
    """Marks a shard if it is damaged; returns what is wrong with it, if anything."""
    fault = _find_fault(path, layout, arrays, shard)
    if fault is None:
        return []
    with contextlib.suppress(InputError):
        write_file(path, f"{DAMAGE_MARKS}{shard}", b"")
    return [f"shard {shard}: {fault}"]


def _find_fault(
    path: PathOrUrl, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> str | None:
    """Returns what is wrong with a shard; None if every byte of it is right.

    Args:
        path: Folder or URL of the store.
        layout: Layout of the store.
        arrays: Result of `open_arrays`, opened after the damage may have happened.
        shard: Index of the shard.
    """
    rows = layout.rows(shard)
    try:
        with translate_errors(path):
            from_checked_json(read_file(path, f"clips/{shard}") or b"")
        for name, array in arrays.items():
            is_large = name in CHUNKED_BY_CLIP
            step = CLIPS_PER_READ if is_large else rows.stop - rows.start
            for start in range(rows.start, rows.stop, step):
                with translate_errors(path):
                    array[start : min(start + step, rows.stop)].read().result()
    except DamagedStoreError as error:
        return error.why
    return None
