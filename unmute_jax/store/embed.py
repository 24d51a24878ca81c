"""Fills a token store by passing every clip of a split through the encoder once.

Processes share the missing shards among them, and each uses its own devices.
"""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.console import duration_text, inform, progress, size_text
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import ExportedTokens, Source
from unmute_jax.io import token_root
from unmute_jax.store.estimate import check_disk_space
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    parent_folder,
    path_or_url,
)
from unmute_jax.store.filling import fill
from unmute_jax.store.key import LAST, Kept, store_path
from unmute_jax.store.layout import Layout
from unmute_jax.store.maintenance import explain_miss
from unmute_jax.store.manifest import (
    check_same_store,
    continued,
    manifest_for,
    read_manifest,
    usable_manifest,
)
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.recheck import recheck
from unmute_jax.store.writer import TokenWriter

# What is said of a store whose files do not name their place.
UNBOUND = (
    "written by an earlier version: after `unmute embed --verify`, exchanged files are "
    "detected, too"
)


def embed(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    kept: Kept = LAST,
    lengths: int = 1,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    explain: bool = False,
    log: Callable[[str], None] = inform,
) -> TokenStore:
    """Returns the tokens of one split, from disk if they are there.

    An interrupted pass resumes with the shards that are not finished, and damaged
    shards are recomputed. Which clips share a batch or a shard never depends on
    devices, on processes or on where a pass resumes; batches are padded if the devices
    do not divide them. Any number of processes may embed the same split at once,
    started together or not, if they see the same `root`: they share the work, and each
    returns when all of it is done.

    Before stored tokens of a custom encoder are reused, one clip is embedded again and
    compared (see `recheck`).

    Args:
        encoder: Frozen encoder, whose parameters are replicated over the devices; or
            tokens that other code exported, which are imported.
        dataset: Data set whose clips are read, in their order.
        split: One of `dataset.splits`.
        root: Folder of all token stores, or a URL ("gs://bucket/folder"). By default
            `io.token_root()`.
        dtype: Type of the stored patches: "bfloat16", "float32" or "int8".
        kept: Layers whose tokens to store; by default the last.
        lengths: Number of lengths that inputs may have (see `batches.input_lengths`).
            With one, every clip is padded to the longest. With more, short clips cost
            less: time steps behind their own input are masked and never computed.
        batch_size: Clips per step over all devices. By default
            `batches.default_batch_size()`.
        mesh: Devices to use; by default all.
        explain: Whether to log why no store on disk could be used.
        log: Function that is called with each line of progress.

    Raises:
        InputError: If the encoder does not return all layers, the disk is too small, a
            clip gives non-finite tokens, the store on disk is damaged, or a custom
            encoder no longer gives the tokens in it.
    """
    found = begin(
        encoder,
        dataset,
        split,
        root=root,
        dtype=dtype,
        kept=kept,
        lengths=lengths,
        explain=explain,
        log=log,
    )
    if isinstance(found, TokenStore):
        return found
    # Processes of one program have fixed shares, whatever any of them has done already.
    # Programs that do not know of each other look which shards exist by now.
    layout = found.writer.layout
    mine = distributed.local_share(layout.shards)
    missing = [shard for shard in found.writer.pending() if shard in mine]
    batches = fill(
        found.writer,
        missing,
        encoder,
        dataset,
        split,
        kept=kept,
        lengths=lengths,
        batch_size=batch_size,
        mesh=mesh,
    )
    total, left = layout.count_clips(mine), layout.count_clips(missing)
    with (
        contextlib.closing(batches),
        progress(
            f"{dataset.name} {split}", total, unit="clips", done=total - left
        ) as advance,
    ):
        before = time.monotonic()
        for number, batch in enumerate(batches):
            # Clips of shards that other processes made count as well.
            advance(left - batch.left)
            now, left = time.monotonic(), batch.left
            if number == 1 and left:  # The first batch was slow: it was compiled.
                rate = batch.clips / (now - before)
                log(f"about {duration_text(left / rate)} to go, at {rate:.3g} clips/s")
            before = now
    return found.finish()


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A pass over the clips of a split that fills its token store.

    Attributes:
        writer: The writer of the store. Whoever computes the missing shards writes
            them with it, or with another writer of the same store.
        checked: How the tokens that are there were checked, see `recheck`.
    """

    writer: TokenWriter
    checked: str

    def finish(self) -> TokenStore:
        """Marks the store as complete once all processes have written their shards."""
        path = self.writer.path
        distributed.wait_for_all(f"shards of {path}")
        if distributed.is_writer():
            distributed.retry_until_visible(self.writer.finish)
        distributed.wait_for_all(f"manifest of {path}")
        store = distributed.retry_until_visible(lambda: TokenStore.open(path))
        return replace(store, checked=self.checked)


def begin(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    kept: Kept = LAST,
    lengths: int = 1,
    explain: bool = False,
    log: Callable[[str], None] = inform,
) -> TokenStore | Pass:
    """Opens the finished store of a split, or creates one to be filled.

    The arguments are those of `embed`.

    Raises:
        InputError: If the encoder does not return all layers, the disk is too small,
            the store on disk is damaged, or a custom encoder no longer gives the
            tokens in it.
    """
    root = path_or_url(token_root() if root is None else root)
    manifest = manifest_for(encoder, dataset, split, dtype, kept=kept, lengths=lengths)
    path = store_path(root, manifest["key"])

    def look() -> _Found:
        return _look(encoder, dataset, split, path, manifest, lengths, explain, log)

    found = distributed.broadcast_from_writer(look)
    if found.checked:
        log(f"tokens of {dataset.name} {split}: {found.checked}")
    if found.is_complete:
        store = distributed.retry_until_visible(lambda: TokenStore.open(path))
        hint = "" if store.layout.bound_to else f" ({UNBOUND})"
        log(f"tokens of {dataset.name} {split}: read from {path}{hint}")
        return replace(store, checked=found.checked)
    manifest = continued(manifest, usable_manifest(path))
    needed = check_disk_space(path, Layout.from_manifest(manifest))
    log(
        f"tokens of {dataset.name} {split} by {encoder.name}: "
        f"{manifest['clips']} clips, {size_text(needed)} to write to {path}"
    )
    if isinstance(encoder, ExportedTokens):
        encoder.check_clips(dataset.ids(split), f"{dataset.name} {split}")
    computed = "" if encoder.is_hashed else "computed by this run"
    return Pass(writer=TokenWriter(path, manifest), checked=found.checked or computed)


class _Found(NamedTuple):
    """What a pass finds on disk. All processes act on what the writer finds.

    Attributes:
        is_complete: Whether the store is complete.
        checked: How its tokens were checked, see `recheck`.
    """

    is_complete: bool
    checked: str = ""


def _look(
    encoder: Source,
    dataset: Dataset,
    split: str,
    path: PathOrUrl,
    manifest: dict[str, Any],
    lengths: int,
    explain: bool,
    log: Callable[[str], None],
) -> _Found:
    """Looks whether a store is there and usable; if it is not, the reason is logged."""
    try:
        existing = read_manifest(path)
        if existing is None:
            if explain:
                for line in explain_miss(parent_folder(path), manifest["key"]):
                    log(line)
            return _Found(is_complete=False)
        check_same_store(path, existing, manifest)
        # Before the next line: what is left of a damaged store is reused, too.
        checked = recheck(encoder, dataset, split, path, existing, lengths=lengths)
        if existing["complete"]:
            TokenStore.open(path)  # Raises if a part of it is missing.
        return _Found(existing["complete"], checked)
    except DamagedStoreError as error:
        log(str(error))
        return _Found(is_complete=False)
