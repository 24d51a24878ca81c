"""Computes the missing shards of a token store and writes them.

Threads decode, resample and cut clips. The compiled encoder runs on all devices ahead
of the host, and finished shards are written behind it, so that only a few batches are
in memory.
"""

from __future__ import annotations

import contextlib
import functools
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int, UInt8

from unmute_jax import distributed
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, ExportedTokens, Source
from unmute_jax.errors import InputError
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
from unmute_jax.store.key import LAST, Kept
from unmute_jax.store.layout import CLIPS_PER_SHARD, is_shard_finished
from unmute_jax.store.prefetch import map_ahead
from unmute_jax.store.rounding import RoundingCheck
from unmute_jax.store.shards import ShardAssembler, finite_rows, shuffled_blocks
from unmute_jax.store.writer import TokenWriter, to_store_arrays
from unmute_jax.tokens import Tokens

# Shards that may wait for the disk before the pass waits, too.
WRITES_AHEAD = 2
# Batches that are on the devices while the host handles the one before.
BATCHES_AHEAD = 1


class Progress(NamedTuple):
    """How far a pass is after a batch.

    Attributes:
        clips: Number of clips in the batch.
        left: Number of clips that are still missing from the shards to be made.
        written: The shards whose files are on disk since the batch before.
    """

    clips: int
    left: int
    written: tuple[int, ...] = ()


def fill(
    writer: TokenWriter,
    shards: Sequence[int],
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    kept: Kept = LAST,
    lengths: int = 1,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
) -> Generator[Progress]:
    """Computes and writes some shards of a store, and yields after each batch.

    Shards that another process writes in the meantime are left out. When the generator
    ends, after a last yield without clips, all of the shards are on disk.

    Args:
        writer: The writer of the store.
        shards: Indices of the shards that are missing.
        encoder: The encoder, or exported tokens, as of `embed`.
        dataset: The data set.
        split: The split whose tokens are in the store.
        kept: Layers whose tokens to store.
        lengths: Number of lengths that inputs may have.
        batch_size: Clips per step over all devices. By default
            `batches.default_batch_size()`.
        mesh: Devices to use, those of this process alone; by default all of them.

    Raises:
        InputError: If a clip gives non-finite tokens or the disk refuses.
    """
    is_finished = functools.partial(is_shard_finished, writer.path, writer.layout)
    assembler = ShardAssembler(writer.layout, shards, is_finished)
    if isinstance(encoder, ExportedTokens):
        batches = _import_tokens(assembler, encoder, dataset, split)
    else:
        size = batch_size or default_batch_size()
        mesh = distributed.local_mesh(distributed.make_mesh() if mesh is None else mesh)
        batches = _encode(assembler, encoder, dataset, split, size, lengths, mesh, kept)
    with contextlib.closing(batches):
        yield from _write_shards(writer, assembler, batches)


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

    check_rounding = RoundingCheck(encoder, layout.dtype, kept)

    def step(batch: WaveformBatch) -> TokenBatch:
        inputs = batch.padded(width)
        tokens = encode(*inputs)
        grid = grids[batch.waveforms.shape[1]]
        _check_grid(tokens, (*grid, encoder.num_features))
        check_rounding(tokens, len(batch.clips), inputs)
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
    check_rounding = RoundingCheck(exported, layout.dtype)
    for shard in shuffled_blocks(layout, assembler.pending, CLIPS_PER_SHARD):
        rows = layout.rows(shard)
        indices = np.arange(rows.start, rows.stop)
        if assembler.needs(indices):
            clips = [replace(source[i], waveform=NO_SAMPLES) for i in indices.tolist()]
            tokens = exported.read([clip.id for clip in clips])
            _check_grid(tokens, layout.grid)
            check_rounding(tokens, len(clips))
            arrays = to_store_arrays(tokens, layout.dtype, layout.grid[0])
            labels = multi_hot_labels(clips, dataset)
            yield TokenBatch(indices, labels, clip_records(clips), arrays)


def _write_shards(
    writer: TokenWriter, assembler: ShardAssembler, batches: Iterable[TokenBatch]
) -> Generator[Progress]:
    """Assembles shards from batches and writes them, a few behind."""
    with ThreadPoolExecutor(1) as pool:
        writes: deque[tuple[int, Future[None]]] = deque()

        def written(most: int) -> tuple[int, ...]:
            """Waits until at most so many writes are left; returns the others."""
            done = list[int]()
            while len(writes) > most or (writes and writes[0][1].done()):
                shard, write = writes.popleft()
                write.result()
                done.append(shard)
            return tuple(done)

        for batch in batches:
            rows = finite_rows(batch.clips, jax.device_get(batch.arrays))
            rows["labels"] = batch.labels
            for shard in assembler.add(batch.indices, rows, batch.clips):
                writes.append((shard.shard, pool.submit(writer.write, *shard)))
            left = assembler.clips_left
            yield Progress(len(batch.clips), left, written(WRITES_AHEAD))
        yield Progress(0, assembler.clips_left, written(0))


def _check_grid(tokens: Tokens, announced: tuple[int, int, int]) -> None:
    """Refuses tokens whose (T, F, D) is not what the encoder announced."""
    grid = tokens.patches.shape[1:]
    if grid != announced:
        raise InputError(f"the encoder gives a grid {grid} but announces {announced}")
