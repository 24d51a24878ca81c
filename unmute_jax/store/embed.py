"""The pass that fills a token store: every clip through the encoder, once.

Audio is decoded, resampled and cut by threads, the encoder runs compiled over all
devices ahead of the host, and finished shards are written behind it. Nothing holds a
whole split. Processes share the shards among them; each uses its own devices.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import shutil
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from unmute_jax import distributed
from unmute_jax.console import duration_text, progress, size_text
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, ExportedTokens, Source
from unmute_jax.errors import InputError
from unmute_jax.io import token_root
from unmute_jax.store.arrays import kept
from unmute_jax.store.batches import (
    InputLengths,
    WaveformBatch,
    block_size,
    facts_of,
    input_lengths,
    labels_of,
    waveform_batches,
)
from unmute_jax.store.files import DamagedStore, Place, parent_of, place_of
from unmute_jax.store.key import store_key, store_path
from unmute_jax.store.layout import (
    CLIPS_PER_SHARD,
    Layout,
    check_same,
    is_finished,
    new_manifest,
    read_manifest,
    unsound_shards,
)
from unmute_jax.store.maintenance import explain_miss
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.shards import Assembly, ShardWork, shuffled_blocks
from unmute_jax.store.writer import TokenWriter
from unmute_jax.tokens import Tokens

# Shards that may wait for the disk before the pass waits too.
WRITES_AHEAD = 2
# Batches on the devices that wait for the host to fetch their tokens.
BATCHES_AHEAD = 1


def embed(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    layers: bool = False,
    lengths: int = 1,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    explain: bool = False,
    log: Callable[[str], None] = print,
) -> TokenStore:
    """The tokens of one split: read where they are on disk, otherwise made.

    A pass that was interrupted goes on with the shards that are not finished, and what
    is known to be damaged is made again. Which clips share a batch or a shard never
    depends on devices, on processes or on where it goes on; batches are padded where
    the devices do not divide them. Any number of processes may embed the same split at
    once, started together or not, where they see the same `root`: they share the work,
    and each returns when all of it is done.

    Args:
        encoder: Frozen; its params are replicated over the devices. Or tokens that
            other code exported: they are brought in.
        dataset: Its clips are read in their order.
        split: One of `dataset.splits`.
        root: Folder of all token stores, or a URL ("gs://bucket/folder"); by default
            `caches.token_root()`.
        dtype: Type of the stored patches: "bfloat16", "float32" or "int8".
        layers: Whether to keep the outputs of all layers too.
        lengths: How many lengths inputs may have (`waveform_batches.input_lengths`).
            With one, every clip is padded to the longest. With more, a short clip costs
            less: time steps behind its own input are masked, and no padding there takes
            part in anything.
        batch_size: Clips per step, over all devices; by default that of
            `default_batch_size`.
        mesh: Devices to use; all by default.
        explain: Whether to say why no store on disk could be used.
        log: Takes each line of news.

    Raises:
        InputError: The encoder has no layers to give, the disk is too small, a clip
            gives non-finite tokens, or the store on disk is damaged.
    """
    root = place_of(token_root() if root is None else root)
    manifest = _manifest(encoder, dataset, split, dtype, layers, lengths)
    path = store_path(root, manifest["key"])
    if distributed.broadcast_from_writer(
        lambda: _is_finished(path, manifest, explain, log)
    ):
        log(f"tokens of {dataset.name} {split}: read from {path}")
        return distributed.retry_until_visible(lambda: TokenStore.open(path))
    todo = _check_disk(path, Layout.of(manifest))
    log(
        f"tokens of {dataset.name} {split} by {encoder.name}: "
        f"{manifest['clips']} clips, {size_text(todo)} to write to {path}"
    )
    if isinstance(encoder, ExportedTokens):
        encoder.check_clips(dataset.ids(split), f"{dataset.name} {split}")
        writer = TokenWriter(path, manifest)
        _bring_in(writer, encoder, dataset, split)
    else:
        writer = TokenWriter(path, manifest)
        mesh = distributed.local_mesh(distributed.make_mesh() if mesh is None else mesh)
        size = batch_size or default_batch_size()
        inputs = input_lengths(encoder, dataset.clip_seconds, lengths)
        _fill(writer, encoder, dataset, split, size, inputs, mesh, log)
    distributed.wait_for_all(f"shards of {path}")
    if distributed.is_writer():
        distributed.retry_until_visible(writer.finish)
    distributed.wait_for_all(f"manifest of {path}")
    return distributed.retry_until_visible(lambda: TokenStore.open(path))


def _is_finished(
    path: Place, manifest: dict[str, Any], explain: bool, log: Callable[[str], None]
) -> bool:
    """Whether nothing of the store is missing; if something is, why is said."""
    try:
        found = read_manifest(path)
        if found is None:
            if explain:
                for line in explain_miss(parent_of(path), manifest["key"]):
                    log(line)
            return False
        check_same(path, found, manifest)
        if found["encoder"].get("code") != manifest["encoder"]["code"]:
            name = manifest["key"]["encoder"]["name"]
            log(
                f"note: the code of {name} has changed since these tokens were made; "
                "if it gives others now, give it another `version`"
            )
        if found["complete"]:
            TokenStore.open(path)  # Looks whether all of it is there.
        return found["complete"]
    except DamagedStore as error:
        log(str(error))
        return False


def default_batch_size() -> int:
    """Clips per step where nobody says: what a cache holds, or what fills a device.

    It depends on the kind of device alone, never on how many there are. On two CPU
    cores EAT-base took 0.89 s per clip in twos, 0.99 s in fours and 1.11 s in eights.
    """
    return 2 if jax.default_backend() == "cpu" else 32


def estimate_store(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    layers: bool = False,
    lengths: int = 1,
) -> dict[str, Any]:
    """What `embed` would do, without doing any of it.

    Returns:
        `bytes` of the whole store on disk, number of `clips`, whether it `exists` in
        full, how many clips are already done (`resumable`), and its `path`.
    """
    root = place_of(token_root() if root is None else root)
    manifest = _manifest(encoder, dataset, split, dtype, layers, lengths)
    layout, path = Layout.of(manifest), store_path(root, manifest["key"])
    found, missing = read_manifest(path), unsound_shards(path, layout)
    return {
        "bytes": layout.disk_bytes,
        "clips": layout.clips,
        "exists": found is not None and found["complete"] and not missing,
        "resumable": layout.clips - layout.clips_in(missing),
        "path": path,
    }


def _manifest(
    encoder: Source,
    dataset: Dataset,
    split: str,
    dtype: str,
    layers: bool,
    lengths: int,
) -> dict[str, Any]:
    if layers and not encoder.num_layers:
        raise InputError(
            f"{encoder.name} gives the tokens of its last layer only; probes of all "
            "layers (cgp, linear_cgp, head2toe) need an encoder that gives the others"
        )
    key = store_key(encoder, dataset, split, dtype, layers=layers, lengths=lengths)
    clips = dataset.splits[split]
    if not clips:
        raise InputError(f"split {split} of {dataset.name} has no clips")
    t, f = encoder.grid(dataset.clip_seconds)
    return new_manifest(
        key,
        clips=clips,
        grid=(t, f, encoder.num_features),
        classes=dataset.classes,
        task=dataset.task,
        data={
            "source": dataset.source,
            "licence": dataset.licence,
            "citation": dataset.citation,
            "notes": dataset.notes,
        },
        encoder={
            "description": encoder.description,
            "licence": encoder.licence,
            "code": encoder.code,
        },
        geometry={
            "seconds_per_step": encoder.geometry.seconds_per_step,
            "frequency_edges_hz": encoder.geometry.frequency_edges_hz,
        },
    )


def _check_disk(path: Place, layout: Layout) -> int:
    """Bytes still to be written; refuses a disk that cannot take them."""
    missing = layout.clips_in(unsound_shards(path, layout))
    todo = layout.disk_bytes * missing // layout.clips
    if isinstance(path, str):
        return todo  # A bucket takes all.
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if todo > free:
        raise InputError(
            f"the tokens need {size_text(todo)} but {there} has {size_text(free)} "
            "free: make room, or keep caches on another disk (UNMUTE_TOKENS)"
        )
    return todo


# The pass


def _fill(
    writer: TokenWriter,
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    batch_size: int,
    lengths: InputLengths,
    mesh: Mesh,
    log: Callable[[str], None],
) -> None:
    """Makes this process's share of the pending shards of `writer`."""
    from grain.experimental import ThreadPrefetchIterDataset

    layout, work = writer.layout, _share(writer)
    clips, left = layout.clips_in(distributed.local_share(layout.shards)), work.clips
    size = block_size(batch_size, lengths)
    blocks = shuffled_blocks(layout, sorted(work.pending), size)
    width = -(-batch_size // mesh.size) * mesh.size
    encode = encoder.on(mesh, all_layers=bool(layout.layers))
    assembly = Assembly(work)

    def step(batch: WaveformBatch) -> tuple[WaveformBatch, dict[str, Array]]:
        tokens = encode(*batch.padded(width))
        announced = lengths[batch.waveforms.shape[1]]
        _check_grid(tokens, (*announced, encoder.num_features))
        return batch, kept(tokens, layout.dtype, layout.grid[0])

    batches = waveform_batches(
        encoder,
        dataset,
        split,
        batch_size,
        lengths=lengths,
        blocks=blocks,
        wanted=work.wants_any,
    ).filter(lambda batch: assembly.wants(batch.places))
    # A thread hands batches to the devices while the host fetches what they made.
    ahead = ThreadPrefetchIterDataset(
        batches.map(step), prefetch_buffer_size=BATCHES_AHEAD
    )
    label = f"{dataset.name} {split}"
    with (
        contextlib.closing(iter(ahead)) as results,
        ThreadPoolExecutor(1) as pool,
        progress(label, clips, unit="clips", done=clips - left) as advance,
    ):
        writes: deque[Future] = deque()
        clock = _Clock(left, log)
        for batch, out in results:
            rows = _checked(batch.clips, jax.device_get(out))
            rows["labels"] = batch.labels
            clock.tick(len(batch.clips))
            for shard in assembly.add(batch.places, rows, batch.clips):
                writes.append(pool.submit(writer.write, *shard))
            while len(writes) > WRITES_AHEAD:
                writes.popleft().result()
            # Those that others made meanwhile count as well.
            advance(len(batch.clips) + left - work.clips)
            left = work.clips
        for write in writes:
            write.result()


def _bring_in(
    writer: TokenWriter, exported: ExportedTokens, dataset: Dataset, split: str
) -> None:
    """Makes the pending shards of `writer` of tokens that are there already."""
    layout, source, work = writer.layout, dataset.source_of(split), _share(writer)
    clips = layout.clips_in(distributed.local_share(layout.shards))
    label = f"{dataset.name} {split}"
    with progress(label, clips, unit="clips", done=clips - work.clips) as advance:
        for shard in shuffled_blocks(layout, sorted(work.pending), CLIPS_PER_SHARD):
            where = layout.rows(shard)
            if work.wants(shard):
                found = [source[i] for i in range(where.start, where.stop)]
                facts = facts_of(found)
                tokens = exported.read([clip.id for clip in found])
                _check_grid(tokens, layout.grid)
                out = kept(tokens, layout.dtype, layout.grid[0])
                rows = _checked(facts, jax.device_get(out))
                rows["labels"] = labels_of(found, dataset)
                writer.write(shard, rows, facts)
            advance(where.stop - where.start)


def _share(writer: TokenWriter) -> ShardWork:
    """The shards for this process to make.

    Processes that were started as one have shares of their own, whatever any of them
    has done already; those that know nothing of each other look what is there.
    """
    mine = distributed.local_share(writer.layout.shards)
    pending = [shard for shard in writer.pending() if shard in mine]
    there = functools.partial(is_finished, writer.path, writer.layout)
    return ShardWork(writer.layout, pending, there)


def _checked(
    clips: list[dict[str, Any]], out: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The rows of the real clips of a batch, once they are all finite."""
    rows = {name: x[: len(clips)] for name, x in out.items()}
    bad = np.flatnonzero(~rows.pop("finite"))
    if len(bad):
        raise InputError(
            f"clip {clips[bad[0]]['id']!r} gives tokens that are not finite: "
            "check its audio, and the weights of the encoder"
        )
    return rows


def _check_grid(tokens: Tokens, announced: tuple[int, int, int]) -> None:
    """Refuses (T, F, D) that are not what was announced."""
    got = tokens.patches.shape[1:]
    if got != announced:
        raise InputError(f"the encoder gives a grid {got} but announces {announced}")


class _Clock:
    """Says once how long the pass will take, from its first warm batch."""

    def __init__(self, clips: int, log: Callable[[str], None]):
        self._left, self._say = clips, log
        self._before: float | None = None
        self._said = False

    def tick(self, clips: int) -> None:
        """Called after every batch; the first one is slow, it was compiled."""
        now = time.monotonic()
        self._left -= clips
        if self._before is not None and self._left > 0 and not self._said:
            rate, self._said = clips / (now - self._before), True
            left = duration_text(self._left / rate)
            self._say(f"about {left} to go, at {rate:.3g} clips/s")
        self._before = now
