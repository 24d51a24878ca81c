"""Estimates what embedding a split would take, without embedding it."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Source
from unmute_jax.io import check_room, token_root
from unmute_jax.store.files import PathOrUrl, path_or_url
from unmute_jax.store.key import LAST, Kept, store_path
from unmute_jax.store.layout import Layout, unusable_shards
from unmute_jax.store.manifest import continued, manifest_for, read_manifest


def estimate_store(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    kept: Kept = LAST,
    lengths: int = 1,
) -> dict[str, Any]:
    """Estimates what `embed` would do with the same arguments.

    Returns:
        `bytes` that the whole store takes on disk, `bytes_of_last` that it would take
        with the tokens of the last layer alone, the number of `clips`, whether the
        finished store `exists`, how many clips a resumed pass would find done
        (`resumable`), and the `path` and the `key` of the store.
    """
    root = path_or_url(token_root() if root is None else root)
    manifest = manifest_for(encoder, dataset, split, dtype, kept=kept, lengths=lengths)
    path = store_path(root, manifest["key"])
    existing = read_manifest(path)
    layout = Layout.from_manifest(continued(manifest, existing))
    unusable = unusable_shards(path, layout)
    return {
        "bytes": layout.disk_bytes,
        "bytes_of_last": replace(layout, layers=0, layer_summaries=0).disk_bytes,
        "clips": layout.clips,
        "exists": existing is not None and existing["complete"] and not unusable,
        "resumable": layout.clips - layout.count_clips(unusable),
        "path": path,
        "key": manifest["key"],
    }


def check_disk_space(path: PathOrUrl, layout: Layout) -> int:
    """Returns the bytes still to be written to a store, if the disk has room for them.

    Raises:
        InputError: If the disk is too small.
    """
    missing = layout.count_clips(unusable_shards(path, layout))
    needed = layout.disk_bytes * missing // layout.clips
    if isinstance(path, str):
        return needed  # The room in a bucket is not limited.
    check_room(path, needed, "the tokens")
    return needed
