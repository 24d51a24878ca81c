"""Finds damage in token stores and marks damaged shards, to be recomputed."""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Iterable
from typing import Any

import tensorstore as ts

from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.store.checksums import (
    ShardChecksums,
    chunk_checksums,
    decode_clips,
    encode_checksums,
    read_checksums,
)
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    parent_folder,
    read_file,
    translate_errors,
    write_file,
)
from unmute_jax.store.key import store_path
from unmute_jax.store.layout import (
    CHECKSUMS,
    CHUNKED_BY_CLIP,
    DAMAGE_MARKS,
    Layout,
    checksum_file,
    open_arrays,
    unusable_shards,
)
from unmute_jax.store.manifest import (
    check_bound_to,
    read_manifest,
    store_name,
    write_manifest,
)

# Clips of a large array that are read at a time. With 13 layers, a clip of 10 s takes
# 10 MB.
CLIPS_PER_READ = 16


def verify_store(path: PathOrUrl) -> list[str]:
    """Reads every byte of a store and marks damaged shards, to be recomputed.

    An unfinished store is read as far as it goes. A finished store without a fault
    that an earlier version wrote gets the files that bind its shards to their places.

    Returns:
        One line for every damaged shard and every other fault.

    Raises:
        InputError: If there is no store, or it is of another format or cannot be read.
    """
    try:
        manifest = read_manifest(path)
        if manifest is None:
            raise InputError(f"there is no token store at {path}")
        check_bound_to(path, manifest)
    except DamagedStoreError as error:
        return [error.why]
    layout = Layout.from_manifest(manifest)
    arrays, faults = {}, _wrong_name(path, manifest)
    for name in layout.arrays:
        try:
            arrays |= open_arrays(path, layout, [name])
        except DamagedStoreError as error:
            faults.append(f"{name}: {error.why}")
    unusable = unusable_shards(path, layout)
    if manifest["complete"]:
        faults += unusable.values()
    reader, found = _ShardReader(path, layout, arrays), {}
    with progress(f"verifying {path}", len(layout.shards), unit="shards") as advance:
        for shard in layout.shards:
            if shard not in unusable:
                try:
                    found[shard] = reader.checksums(shard)
                except DamagedStoreError as error:
                    faults.append(f"shard {shard}: {error.why}")
            advance(1)
    if manifest["complete"] and not faults and not layout.bound_to:
        # A store that cannot be written to stays as it is.
        with contextlib.suppress(InputError):
            _bind(path, manifest, found)
    return faults


def mark_damage(path: PathOrUrl, layout: Layout, shards: Iterable[int]) -> None:
    """Reads some shards again and marks those that are damaged.

    The next `embed` recomputes marked shards. A store that cannot be written to stays
    without marks.
    """
    reader = _ShardReader(path, layout, open_arrays(path, layout))
    for shard in shards:
        with contextlib.suppress(DamagedStoreError):
            reader.checksums(shard)


def _wrong_name(path: PathOrUrl, manifest: dict[str, Any]) -> list[str]:
    """Returns a line if the name of the folder stands for other tokens.

    A folder may have any name that does not end as the names of stores do.
    """
    wanted = str(store_path(parent_folder(path), manifest["key"]))
    if str(path) == wanted or not re.search(r"-[0-9a-f]{16}$", str(path)):
        return []
    name = wanted.rpartition("/")[2]
    return [f"it holds other tokens than its name says, those of {name}: delete it"]


def _bind(
    path: PathOrUrl, manifest: dict[str, Any], found: dict[int, ShardChecksums]
) -> None:
    """Adds the files that bind shards to their places to a store that lacks them."""
    bound = {**manifest, "bound_to": store_name(manifest)}
    layout = Layout.from_manifest(bound)
    for shard, checksums in found.items():
        content = encode_checksums(layout, shard, checksums)
        write_file(path, checksum_file(shard), content)
    write_manifest(path, bound)


class _ShardReader:
    """Reads whole shards and compares them with their checksums."""

    def __init__(
        self, path: PathOrUrl, layout: Layout, arrays: dict[str, ts.TensorStore]
    ):
        """Creates the reader.

        Args:
            path: Folder or URL of the store.
            layout: Layout of the store.
            arrays: Result of `open_arrays`, opened after the damage may have happened.
        """
        self._path, self._layout, self._arrays = path, layout, arrays

    def checksums(self, shard: int) -> ShardChecksums:
        """Returns the checksums of all chunks of a shard; marks it if it is damaged.

        Raises:
            DamagedStoreError: If a byte was altered, or if something stands in the
                place of something else.
        """
        try:
            return self._checked(shard)
        except DamagedStoreError:
            with contextlib.suppress(InputError):
                write_file(self._path, f"{DAMAGE_MARKS}{shard}", b"")
            raise

    def _checked(self, shard: int) -> ShardChecksums:
        path, layout = self._path, self._layout
        expected = dict(read_checksums(path, layout, shard)) if layout.bound_to else {}
        clips = read_file(path, f"clips/{shard}") or b""
        decode_clips(path, layout, shard, clips)
        found = {"clips": [zlib.crc32(clips)]}
        large_array_of = {array: name for name, array in CHECKSUMS.items()}
        rows = layout.rows(shard)
        for name, array in self._arrays.items():
            found[name] = []
            step = CLIPS_PER_READ if name in CHUNKED_BY_CLIP else rows.stop - rows.start
            for start in range(rows.start, rows.stop, step):
                with translate_errors(path):
                    block = array[start : min(start + step, rows.stop)].read().result()
                found[name] += chunk_checksums(name, block)
                if name in large_array_of:
                    expected[large_array_of[name]] = block.tolist()
        faults = [
            self._describe(name, shard, found[name], expected[name])
            for name in sorted(found.keys() & expected.keys())
            if found[name] != expected[name]
        ]
        if faults:
            raise DamagedStoreError(path, "; ".join(faults))
        return found

    def _describe(
        self, name: str, shard: int, found: list[int], expected: list[int]
    ) -> str:
        """Says which chunk is wrong, and where it belongs if the store tells."""
        pairs = zip(found, expected, strict=True)
        position = next(k for k, (crc, wanted) in enumerate(pairs) if crc != wanted)
        what = name
        if name in CHUNKED_BY_CLIP:
            what += f" of clip {self._layout.rows(shard).start + position}"
        origin = self._origins.get(found[position])
        belongs = f" (it belongs to {origin})" if origin else ""
        return f"{what}: not what was written there{belongs}"

    @functools.cached_property
    def _origins(self) -> dict[int, str]:
        """Where a chunk belongs, by its checksum."""
        origins = {}
        for shard in self._layout.shards if self._layout.bound_to else ():
            with contextlib.suppress(DamagedStoreError):
                known = read_checksums(self._path, self._layout, shard)
                for name, checksums in known.items():
                    place = f"{name} of shard {shard}"
                    origins |= dict.fromkeys(checksums, place)
        return origins
