"""Is a shard still what was written? Reading all of it, and marking what is not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import tensorstore as ts

from unmute_jax.errors import InputError
from unmute_jax.token_files import (
    DamagedStore,
    Place,
    clear_errors,
    read_file,
    unsealed,
    write_file,
)
from unmute_jax.token_format import LARGE, MARKS, Layout, open_arrays

# Clips that are read at once of a large array; 13 layers of 10 s are 10 MB each.
PORTION = 16


def fault_of(
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
        return str(error)
    return None


def mark_damage(path: Place, layout: Layout, shards: Iterable[int]) -> dict[int, str]:
    """Looks at some shards again, and marks those that are damaged.

    What is marked is made again by the next `embed`. A store that cannot be written to
    stays without marks.

    Returns:
        What is wrong with which shard.
    """
    arrays, faults = open_arrays(path, layout), {}
    for shard in shards:
        if fault := fault_of(path, layout, arrays, shard):
            faults[shard] = fault
            with contextlib.suppress(InputError):
                write_file(path, f"{MARKS}{shard}", b"")
    return faults
