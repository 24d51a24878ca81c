"""Is a shard still what was written? Reading all of it, and marking what is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import tensorstore as ts

from unmute_jax.errors import InputError
from unmute_jax.progress import progress
from unmute_jax.token_files import (
    DamagedStore,
    Place,
    clear_errors,
    read_file,
    unsealed,
    write_file,
)
from unmute_jax.token_format import (
    LARGE,
    MARKS,
    Layout,
    open_arrays,
    read_manifest,
    unsound_shards,
)

# Clips that are read at once of a large array; 13 layers of 10 s are 10 MB each.
PORTION = 16


def verify(path: Place) -> list[str]:
    """Reads every byte of a store; what is damaged is marked, to be made again.

    One that is unfinished is read as far as it goes.

    Returns:
        What is wrong with it, a line each; none where all is well.

    Raises:
        InputError: There is no store, it is of another format, or it cannot be read.
    """
    try:
        manifest = read_manifest(path)
    except DamagedStore as error:
        return [error.why]
    if manifest is None:
        raise InputError(f"there is no token store at {path}")
    layout, arrays, faults = Layout.of(manifest), {}, []
    for name in layout.arrays:
        try:
            arrays |= open_arrays(path, layout, [name])
        except DamagedStore as error:
            faults.append(f"{name}: {error.why}")
    unsound = unsound_shards(path, layout)
    if manifest["complete"]:
        faults += unsound.values()
    with progress(f"verifying {path}", len(layout.shards), unit="shards") as advance:
        for shard in layout.shards:
            if shard not in unsound:
                faults += _marked(path, layout, arrays, shard)
            advance(1)
    return faults


def mark_damage(path: Place, layout: Layout, shards: Iterable[int]) -> None:
    """Looks at some shards again, and marks those that are damaged.

    What is marked is made again by the next `embed`. A store that cannot be written to
    stays without marks.
    """
    arrays = open_arrays(path, layout)
    for shard in shards:
        _marked(path, layout, arrays, shard)


def _marked(
    path: Place, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> list[str]:
    """Marks a shard if it is damaged; says why, or nothing."""
    fault = _fault_of(path, layout, arrays, shard)
    if fault is None:
        return []
    with contextlib.suppress(InputError):
        write_file(path, f"{MARKS}{shard}", b"")
    return [f"shard {shard}: {fault}"]


def _fault_of(
    path: Place, layout: Layout, arrays: dict[str, ts.TensorStore], shard: int
) -> str | None:
    """What is wrong with a shard, in one line; None if every byte of it is right.

    Args:
        path: The folder of the store.
        layout: Of the store.
        arrays: Of `open_arrays`, opened after whatever may have done harm.
        shard: Its index.
    """
    rows = layout.rows(shard)
    try:
        with clear_errors(path):
            unsealed(read_file(path, f"clips/{shard}") or b"")
        for name, array in arrays.items():
            step = PORTION if name in LARGE else rows.stop - rows.start
            for start in range(rows.start, rows.stop, step):
                with clear_errors(path):
                    part = array[start : min(start + step, rows.stop)]
                    part.read().result()
    except DamagedStore as error:
        return error.why
    return None
