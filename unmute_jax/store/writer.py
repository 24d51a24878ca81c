"""Writes token stores, shard by shard."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorstore as ts
from jaxtyping import Array

from unmute_jax.ops.arrays import Arr
from unmute_jax.store.checksums import chunk_checksums, encode_checksums
from unmute_jax.store.files import (
    open_kvstore,
    path_or_url,
    to_checked_json,
    translate_errors,
    write_file,
)
from unmute_jax.store.key import LAST, Kept
from unmute_jax.store.layout import (
    CHECKSUMS,
    CLIP_STATISTICS,
    DAMAGE_MARKS,
    LAYER_STATISTICS,
    SUMMARY_ARRAYS,
    Layout,
    array_spec,
    checksum_file,
    unusable_shards,
)
from unmute_jax.store.manifest import (
    check_same_store,
    continued,
    usable_manifest,
    write_manifest,
)
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import (
    Tokens,
    dequantise,
    inverse_norms,
    quantise,
    round_to,
    summarise,
    summarise_layers,
)


class TokenWriter:
    """Fills a store shard by shard. An interrupted pass resumes where it stopped.

    Any number of processes may write to one store at once.
    """

    def __init__(self, path: str | pathlib.Path, manifest: dict[str, Any]):
        """Creates the store, or opens what earlier passes left of it.

        Args:
            path: Folder or URL of the store.
            manifest: The store's manifest, as returned by `new_manifest`.

        Raises:
            InputError: If the folder holds something else or cannot be written.
        """
        self.path = path_or_url(path)
        existing = usable_manifest(self.path)
        self.manifest = continued(manifest, existing)
        self.layout = Layout.from_manifest(self.manifest)
        if existing is None:
            write_manifest(self.path, manifest)
        else:
            check_same_store(self.path, existing, manifest)
        for name, data in metadata_files(self.layout).items():
            write_file(self.path, name, data)

    def pending(self) -> list[int]:
        """Returns the shards that must be written, in order."""
        return list(unusable_shards(self.path, self.layout))

    def write(
        self, shard: int, rows: dict[str, np.ndarray], clips: list[dict[str, Any]]
    ) -> None:
        """Writes one shard and returns when it is on disk.

        Args:
            shard: Index of the shard.
            rows: The rows of the shard's clips, for every array except the checksums.
            clips: The "id" and the "events" of each clip.

        Raises:
            InputError: If the disk refuses.
        """
        layout, files = self.layout, open_kvstore(self.path)
        rows = rows | {
            array: np.asarray(chunk_checksums(name, rows[name]), np.uint32)
            for name, array in CHECKSUMS.items()
            if name in rows
        }
        about_clips = to_checked_json({"clips": clips})
        with translate_errors(self.path):
            writes = [files.write(f"clips/{shard}", about_clips)]
            if layout.bound_to:
                place = _checksums_of(layout, shard, rows, about_clips)
                writes.append(files.write(checksum_file(shard), place))
            for name in rows.keys() - {"patches"}:
                data = encode_shard(layout, name, shard, rows[name])
                writes.append(files.write(layout.shard_file(name, shard), data))
            for write in writes:
                write.result()
            # The patches come last because they mark the shard as finished.
            data = encode_shard(layout, "patches", shard, rows["patches"])
            files.write(layout.shard_file("patches", shard), data).result()
            files.write(f"{DAMAGE_MARKS}{shard}", None).result()

    def finish(self) -> TokenStore:
        """Marks the store as complete and opens it.

        Raises:
            RuntimeError: If some shards have not been written.
        """
        if pending := self.pending():
            raise RuntimeError(f"shards {pending} of {self.path} are not written")
        write_manifest(self.path, {**self.manifest, "complete": True})
        return TokenStore.open(self.path)


# From tokens to the arrays of a store


@functools.partial(jax.jit, static_argnames=("dtype", "steps", "kept"))
def to_store_arrays(
    tokens: Tokens, dtype: str, steps: int, kept: Kept = LAST
) -> dict[str, Array]:
    """Computes every array that a store holds of a batch of tokens.

    Args:
        tokens: Tokens as an encoder returns them.
        dtype: Type in which the patches are stored.
        steps: Number of time steps in the store. Shorter tokens get masked steps at
            the end.
        kept: Layers whose tokens are stored.

    Returns:
        The arrays by name, and under `finite` which clips have only finite values.
    """
    tokens = _pad_steps(tokens, steps)
    of_layers = summarise_layers(tokens) if kept.summaries else None
    if kept.layer is not None:
        tokens = tokens.of_layer(kept.layer)
    summary = summarise(tokens)
    patches, scales, stored = _round(tokens.patches, dtype)
    finite = jnp.isfinite(stored).all((1, 2, 3)) & jnp.isfinite(summary.cls).all(1)
    arrays = {
        "patches": patches,
        "scales": scales,
        "inverse_norms": inverse_norms(stored),
    }
    if kept.layers and tokens.layers is not None and tokens.layer_cls is not None:
        layers, layer_scales, stored = _round(tokens.layers, dtype)
        layer_cls = jnp.asarray(tokens.layer_cls).astype(jnp.float32)
        arrays |= {
            "layers": layers,
            "layer_scales": layer_scales,
            "layer_cls": layer_cls,
        }
        for x in (stored, layer_cls):
            finite &= jnp.isfinite(x).reshape(len(x), -1).all(1)
    if of_layers is not None:
        for array, name in zip(LAYER_STATISTICS, CLIP_STATISTICS, strict=True):
            statistic = getattr(of_layers, name)
            arrays[array] = statistic
            finite &= jnp.isfinite(statistic).all((1, 2))
    return {
        **{name: x for name, x in arrays.items() if x is not None},
        "mask": jnp.asarray(tokens.mask),
        **{name: getattr(summary, name) for name in SUMMARY_ARRAYS},
        "finite": finite,
    }


def _round(x: Arr, dtype: str) -> tuple[Array, Array | None, Array]:
    """Rounds to a stored type.

    Returns:
        The stored array, the scales beside it if it is int8, and the rounded values.
    """
    if dtype == "int8":
        q, scales = quantise(x)
        return q, scales, dequantise(q, scales)
    rounded = round_to(x, dtype)
    return rounded, None, rounded


def _pad_steps(tokens: Tokens, steps: int) -> Tokens:
    """Appends masked zeros up to `steps` time steps."""
    missing = steps - tokens.patches.shape[1]
    if missing <= 0:
        return tokens

    def pad(x: Any, axis: int) -> Array:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, missing)
        return jnp.pad(jnp.asarray(x), widths)

    return dataclasses.replace(
        tokens,
        patches=pad(tokens.patches, 1),
        mask=pad(tokens.mask, 1),
        layers=None if tokens.layers is None else pad(tokens.layers, 2),
    )


# From arrays to the bytes of files


def _checksums_of(
    layout: Layout, shard: int, rows: dict[str, np.ndarray], clips: bytes
) -> bytes:
    """Returns the content of the file that binds a shard to its place."""
    small = rows.keys() - CHECKSUMS.keys()
    checksums = {name: chunk_checksums(name, rows[name]) for name in small}
    return encode_checksums(layout, shard, {"clips": [zlib.crc32(clips)], **checksums})


def metadata_files(layout: Layout) -> dict[str, bytes]:
    """Returns the files that describe the arrays to tensorstore, by name."""
    return {
        f"{name}/zarr.json": _write_in_memory(name, shape, dtype)["zarr.json"]
        for name, (shape, dtype) in layout.arrays.items()
    }


def encode_shard(layout: Layout, name: str, shard: int, rows: np.ndarray) -> bytes:
    """Returns the content of the file that holds one shard of an array.

    Raises:
        RuntimeError: If the rows do not have the shape and type of the array.
    """
    (_, *sizes), dtype = layout.arrays[name]
    wanted = (layout.count_clips([shard]), *sizes), ts.dtype(dtype).numpy_dtype
    if (rows.shape, rows.dtype) != wanted:
        got = f"{rows.shape} {rows.dtype}"
        raise RuntimeError(f"rows of {name} are {got}, not {wanted[0]} {wanted[1]}")
    files = _write_in_memory(name, rows.shape, dtype, rows)
    del files["zarr.json"]
    (data,) = files.values()
    return data


def _write_in_memory(
    name: str, shape: tuple[int, ...], dtype: str, rows: np.ndarray | None = None
) -> dict[str, bytes]:
    """Lets tensorstore write an array and returns the files that it made."""
    context = ts.Context()
    files = ts.KvStore.open("memory://", context=context).result()
    array = ts.open(
        {"kvstore": "memory://", **array_spec(name, shape, dtype)},
        context=context,
        create=True,
    ).result()
    if rows is not None:
        # Without the transaction each chunk would rewrite the file.
        with ts.Transaction() as transaction:
            array.with_transaction(transaction)[...] = rows
    return {key.decode(): files[key] for key in files.list().result()}
