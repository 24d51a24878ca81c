"""Fills a token store by passing every clip of a split through the encoder once.

Threads decode, resample and cut clips. The compiled encoder runs on all devices ahead
of the host, and finished shards are written behind it, so that only a few batches are
in memory. Processes share the shards among them, and each uses its own devices.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, UInt8

from unmute_jax import distributed
from unmute_jax.console import duration_text, progress, size_text
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, ExportedTokens, Source
from unmute_jax.errors import InputError
from unmute_jax.io import token_root
from unmute_jax.store.batches import (
    NO_SAMPLES,
    WaveformBatch,
    block_size,
    clip_records,
    default_batch_size,
    input_lengths,
    multi_hot_labels,
    waveform_batches,
)
from unmute_jax.store.estimate import check_disk_space
from unmute_jax.store.files import (
    DamagedStoreError,
    PathOrUrl,
    parent_folder,
    path_or_url,
)
from unmute_jax.store.key import LAST, Kept, store_path
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout, is_shard_finished
from unmute_jax.store.maintenance import explain_miss
from unmute_jax.store.manifest import (
    check_same_store,
    continued,
    manifest_for,
    read_manifest,
    usable_manifest,
)
from unmute_jax.store.prefetch import map_ahead
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.recheck import recheck
from unmute_jax.store.shards import ShardAssembler, finite_rows, shuffled_blocks
from unmute_jax.store.writer import TokenWriter, to_store_arrays
from unmute_jax.tokens import Tokens

# Shards that may wait for the disk before the pass waits, too.
WRITES_AHEAD = 2
# What is said of a store whose files do not name their place.
UNBOUND = (
    "written by an earlier version: after `unmute embed --verify`, exchanged files are "
    "detected, too"
)
# Batches that are on the devices while the host handles the one before.
BATCHES_AHEAD = 1


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
    log: Callable[[str], None] = print,
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
    writer = TokenWriter(path, manifest)
    assembler = _assembler(writer)
    if isinstance(encoder, ExportedTokens):
        batches = _import_tokens(assembler, encoder, dataset, split)
    else:
        size = batch_size or default_batch_size()
        mesh = distributed.local_mesh(distributed.make_mesh() if mesh is None else mesh)
        batches = _encode(assembler, encoder, dataset, split, size, lengths, mesh, kept)
    with contextlib.closing(batches):
        _write_shards(writer, assembler, batches, f"{dataset.name} {split}", log)
    distributed.wait_for_all(f"shards of {path}")
    if distributed.is_writer():
        distributed.retry_until_visible(writer.finish)
    distributed.wait_for_all(f"manifest of {path}")
    store = distributed.retry_until_visible(lambda: TokenStore.open(path))
    computed = "" if encoder.is_hashed else "computed by this run"
    return replace(store, checked=found.checked or computed)


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


# The pass: missing shards, batches of their clips, tokens, whole shards, files


class TokenBatch(NamedTuple):
    """The arrays of a store for a batch of clips.

    Attributes:
        indices: Indices of the clips in their split.
        labels: One where the class is in the clip, zero elsewhere.
        clips: The id and the events of each clip.
        arrays: Result of `to_store_arrays`. Rows behind the last clip are padding.
    """

    indices: Int[np.ndarray, "B"]
    labels: UInt8[np.ndarray, "B C"]
    clips: list[dict[str, Any]]
    arrays: dict[str, Array]


def _assembler(writer: TokenWriter) -> ShardAssembler:
    """Returns an assembler of the missing shards that this process makes.

    Processes of one program have fixed shares, whatever any of them has done already.
    Programs that do not know of each other look which shards exist by now.
    """
    mine = distributed.local_share(writer.layout.shards)
    pending = [shard for shard in writer.pending() if shard in mine]
    is_finished = functools.partial(is_shard_finished, writer.path, writer.layout)
    return ShardAssembler(writer.layout, pending, is_finished)


def _encode(
    assembler: ShardAssembler,
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    batch_size: int,
    lengths: int,
    mesh: Mesh,
    kept: Kept,
) -> Generator[TokenBatch]:
    """Encodes the clips of the pending shards, one batch ahead of the caller."""
    layout = assembler.layout
    grids = input_lengths(encoder, dataset.clip_seconds, lengths)
    size = block_size(batch_size, grids)
    width = -(-batch_size // mesh.size) * mesh.size
    encode = encoder.on(mesh, all_layers=kept.needs_layers)
    waveforms = waveform_batches(
        encoder,
        dataset,
        split,
        batch_size,
        lengths=grids,
        blocks=shuffled_blocks(layout, assembler.pending, size),
        is_needed=assembler.needs,
    )

    def step(batch: WaveformBatch) -> TokenBatch:
        tokens = encode(*batch.padded(width))
        grid = grids[batch.waveforms.shape[1]]
        _check_grid(tokens, (*grid, encoder.num_features))
        arrays = to_store_arrays(tokens, layout.dtype, layout.grid[0], kept)
        return TokenBatch(batch.indices, batch.labels, batch.clips, arrays)

    with contextlib.closing(waveforms):
        needed = (batch for batch in waveforms if assembler.needs(batch.indices))
        # One thread, so that batches reach the devices in order.
        yield from map_ahead(step, needed, threads=1, ahead=BATCHES_AHEAD)


def _import_tokens(
    assembler: ShardAssembler, exported: ExportedTokens, dataset: Dataset, split: str
) -> Generator[TokenBatch]:
    """Reads tokens that other code exported, one pending shard at a time."""
    layout, source = assembler.layout, dataset.source_of(split)
    for shard in shuffled_blocks(layout, assembler.pending, CLIPS_PER_SHARD):
        rows = layout.rows(shard)
        indices = np.arange(rows.start, rows.stop)
        if assembler.needs(indices):
            clips = [replace(source[i], waveform=NO_SAMPLES) for i in indices.tolist()]
            tokens = exported.read([clip.id for clip in clips])
            _check_grid(tokens, layout.grid)
            arrays = to_store_arrays(tokens, layout.dtype, layout.grid[0])
            labels = multi_hot_labels(clips, dataset)
            yield TokenBatch(indices, labels, clip_records(clips), arrays)


def _write_shards(
    writer: TokenWriter,
    assembler: ShardAssembler,
    batches: Iterable[TokenBatch],
    label: str,
    log: Callable[[str], None],
) -> None:
    """Assembles shards from batches and writes them, a few behind."""
    layout, left = writer.layout, assembler.clips_left
    mine = layout.count_clips(distributed.local_share(layout.shards))
    with (
        ThreadPoolExecutor(1) as pool,
        progress(label, mine, unit="clips", done=mine - left) as advance,
    ):
        writes: deque[Future[None]] = deque()
        before = time.monotonic()
        for number, batch in enumerate(batches):
            rows = finite_rows(batch.clips, jax.device_get(batch.arrays))
            rows["labels"] = batch.labels
            for shard in assembler.add(batch.indices, rows, batch.clips):
                writes.append(pool.submit(writer.write, *shard))
            while len(writes) > WRITES_AHEAD:
                writes.popleft().result()
            # Clips of shards that other processes made count as well.
            advance(left - assembler.clips_left)
            now, left = time.monotonic(), assembler.clips_left
            if number == 1 and left:  # The first batch was slow: it was compiled.
                rate = len(batch.clips) / (now - before)
                log(f"about {duration_text(left / rate)} to go, at {rate:.3g} clips/s")
            before = now
        for write in writes:
            write.result()


def _check_grid(tokens: Tokens, announced: tuple[int, int, int]) -> None:
    """Refuses tokens whose (T, F, D) is not what the encoder announced."""
    grid = tokens.patches.shape[1:]
    if grid != announced:
        raise InputError(f"the encoder gives a grid {grid} but announces {announced}")
