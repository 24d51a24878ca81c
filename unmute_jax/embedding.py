"""The pass that fills a token store: every clip through the encoder, once.

Audio is decoded, resampled and cut by threads, the encoder runs compiled over all
devices, and finished shards are written behind it. Nothing holds a whole split.
"""

from __future__ import annotations

import functools
import pathlib
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from unmute_jax import parallel
from unmute_jax.caches import cache_dir
from unmute_jax.datasets import Dataset
from unmute_jax.encoders import Encoder, ExportedTokens, Source
from unmute_jax.errors import InputError
from unmute_jax.progress import progress
from unmute_jax.token_format import (
    CLIPS_PER_SHARD,
    SUMMARY,
    Layout,
    check_same,
    finished_shards,
    new_manifest,
    read_manifest,
)
from unmute_jax.token_key import explain_miss, store_key, store_path
from unmute_jax.token_store import TokenStore, TokenWriter
from unmute_jax.tokens import Tokens, inverse_norms, summarise
from unmute_jax.waveform_batches import (
    WaveformBatch,
    facts_of,
    labels_of,
    waveform_batches,
)

# Shards that may wait for the disk before the pass waits too.
WRITES_AHEAD = 2


def embed(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    layers: bool = False,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    explain: bool = False,
    say: Callable[[str], None] = print,
) -> TokenStore:
    """The tokens of one split: read where they are on disk, otherwise made.

    A pass that was interrupted goes on after its last finished shard. Which clips share
    a batch or a shard never depends on devices: batch `i` holds the clips from
    `i * batch_size` on, padded where the devices do not divide it.

    Args:
        encoder: Frozen; its params are replicated over the devices. Or tokens that
            other code exported: they are brought in.
        dataset: Its clips are read in their order.
        split: One of `dataset.splits`.
        root: Folder of all token stores; by default `cache_dir("tokens")`.
        dtype: Type of the stored patches, "bfloat16" or "float32".
        layers: Whether to keep the outputs of all layers too.
        batch_size: Clips per step, over all devices; by default that of
            `default_batch_size`.
        mesh: Devices to use; all by default.
        explain: Whether to say why no store on disk could be used.
        say: Takes each line of news.

    Raises:
        InputError: The encoder has no layers to give, the disk is too small, a clip
            gives non-finite tokens, or the store on disk is damaged.
    """
    root = cache_dir("tokens") if root is None else pathlib.Path(root)
    if jax.process_count() > 1:
        raise InputError("tokens are made by one process: embed before a run on many")
    manifest = _manifest(encoder, dataset, split, dtype, layers)
    path = store_path(root, manifest["key"])
    found = read_manifest(path)
    if found is not None:
        check_same(path, found, manifest)
        if found["encoder"].get("code") != encoder.code:
            say(
                f"note: the code of {encoder.name} has changed since these tokens were "
                "made; if it gives others now, give it another `version`"
            )
        if found["complete"]:
            say(f"tokens of {dataset.name} {split}: read from {path}")
            return TokenStore.open(path)
    elif explain:
        for line in explain_miss(root, manifest["key"]):
            say(line)
    todo = _check_disk(path, Layout.of(manifest))
    say(
        f"tokens of {dataset.name} {split} by {encoder.name}: "
        f"{manifest['clips']} clips, {_size(todo)} to write to {path}"
    )
    if isinstance(encoder, ExportedTokens):
        encoder.check_clips(dataset.ids(split), f"{dataset.name} {split}")
        writer = TokenWriter(path, manifest)
        _bring_in(writer, encoder, dataset, split)
    else:
        writer = TokenWriter(path, manifest)
        mesh = parallel.make_mesh() if mesh is None else mesh
        size = batch_size or default_batch_size()
        _fill(writer, encoder, dataset, split, size, mesh, say)
    return writer.finish()


def default_batch_size() -> int:
    """Clips per step where nobody says: what a cache holds, or what fills a device.

    It depends on the kind of device alone, never on how many there are. On two CPU
    cores EAT-base took 0.89 s per clip in twos, 0.99 s in fours and 1.11 s in eights.
    """
    return 2 if jax.default_backend() == "cpu" else 32


def estimate(
    encoder: Source,
    dataset: Dataset,
    split: str,
    *,
    root: str | pathlib.Path | None = None,
    dtype: str = "bfloat16",
    layers: bool = False,
) -> dict[str, Any]:
    """What `embed` would do, without doing any of it.

    Returns:
        `bytes` of the whole store on disk, number of `clips`, whether it `exists` in
        full, how many clips are already done (`resumable`), and its `path`.
    """
    root = cache_dir("tokens") if root is None else pathlib.Path(root)
    manifest = _manifest(encoder, dataset, split, dtype, layers)
    layout, path = Layout.of(manifest), store_path(root, manifest["key"])
    found = read_manifest(path)
    return {
        "bytes": layout.disk_bytes,
        "clips": layout.clips,
        "exists": found is not None and found["complete"],
        "resumable": layout.clips_in(finished_shards(path)),
        "path": path,
    }


def _manifest(
    encoder: Source, dataset: Dataset, split: str, dtype: str, layers: bool
) -> dict[str, Any]:
    if layers and not encoder.num_layers:
        raise InputError(
            f"{encoder.name} gives the tokens of its last layer only; probes of all "
            "layers (cgp, linear_cgp, head2toe) need an encoder that gives the others"
        )
    key = store_key(encoder, dataset, split, dtype, layers=layers)
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


def _check_disk(path: pathlib.Path, layout: Layout) -> int:
    """Bytes still to be written; refuses a disk that cannot take them."""
    done = layout.clips_in(finished_shards(path))
    todo = layout.disk_bytes * (layout.clips - done) // layout.clips
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if todo > free:
        raise InputError(
            f"the tokens need {_size(todo)} but {there} has {_size(free)} free: make "
            "room, or keep caches on another disk (UNMUTE_CACHE)"
        )
    return todo


# The pass


def _fill(
    writer: TokenWriter,
    encoder: Encoder,
    dataset: Dataset,
    split: str,
    batch_size: int,
    mesh: Mesh,
    say: Callable[[str], None],
) -> None:
    """Makes the pending shards of `writer`."""
    layout, pending = writer.layout, writer.pending()
    done = layout.clips - layout.clips_in(pending)
    starts = _batch_starts(layout, pending, batch_size)
    width = -(-batch_size // mesh.size) * mesh.size
    encode = encoder.on(mesh, all_layers=bool(layout.layers))

    def step(batch: WaveformBatch) -> dict[str, Array]:
        return kept(encode(*batch.padded(width)), layout.dtype)

    assembly = _Assembly(layout, pending)
    label = f"{dataset.name} {split}"
    with (
        waveform_batches(encoder, dataset, split, starts, batch_size) as batches,
        ThreadPoolExecutor(1) as pool,
        progress(label, layout.clips, unit="clips", done=done) as advance,
    ):
        writes: deque[Future] = deque()
        clock = _Clock(len(starts), say)
        for batch, out in _one_behind(batches, step):
            rows = _checked(batch.clips, out, layout) | {"labels": batch.labels}
            clock.tick(len(batch.clips))
            for shard in assembly.add(batch, rows):
                writes.append(pool.submit(writer.write, *shard))
            while len(writes) > WRITES_AHEAD:
                writes.popleft().result()
            advance(len(batch.clips))
        for write in writes:
            write.result()


def _bring_in(
    writer: TokenWriter, exported: ExportedTokens, dataset: Dataset, split: str
) -> None:
    """Makes the pending shards of `writer` of tokens that are there already."""
    layout, source = writer.layout, dataset.source_of(split)
    pending = writer.pending()
    done = layout.clips - layout.clips_in(pending)
    label = f"{dataset.name} {split}"
    with progress(label, layout.clips, unit="clips", done=done) as advance:
        for shard in pending:
            where = layout.rows(shard)
            clips = [source[i] for i in range(where.start, where.stop)]
            facts = facts_of(clips)
            out = kept(exported.read([clip.id for clip in clips]), layout.dtype)
            rows = _checked(facts, jax.device_get(out), layout)
            writer.write(shard, rows | {"labels": labels_of(clips, dataset)}, facts)
            advance(len(clips))


def _batch_starts(layout: Layout, shards: list[int], batch_size: int) -> list[int]:
    """First clips of the batches that touch these shards.

    Batches are counted from the first clip of all, so that a resumed pass sees the same
    ones; what it computes twice is less than one batch at each end.
    """
    touched = set()
    for shard in shards:
        rows = layout.rows(shard)
        touched |= set(range(rows.start // batch_size, -(-rows.stop // batch_size)))
    return [i * batch_size for i in sorted(touched)]


@functools.partial(jax.jit, static_argnames="dtype")
def kept(tokens: Tokens, dtype: str) -> dict[str, Array]:
    """Everything a store keeps of a batch, and which clips are `finite`.

    Args:
        tokens: Of an encoder.
        dtype: Of the patches, as they are stored.
    """
    patches = jnp.asarray(tokens.patches)
    if dtype == "bfloat16":
        # A bare cast may be skipped by the compiler where it goes back to float32 for
        # the norms, which would then belong to tokens that nobody stored.
        patches = jax.lax.reduce_precision(patches, exponent_bits=8, mantissa_bits=7)
    summary, layers = summarise(tokens), {}
    if tokens.layers is not None and tokens.layer_cls is not None:
        layers["layers"] = jnp.asarray(tokens.layers).astype(dtype)
        layers["layer_cls"] = jnp.asarray(tokens.layer_cls).astype(jnp.float32)
    finite = jnp.isfinite(patches).all((1, 2, 3)) & jnp.isfinite(summary.cls).all(1)
    for x in layers.values():
        finite &= jnp.isfinite(x).reshape(len(x), -1).all(1)
    return {
        "patches": patches.astype(dtype),
        "inverse_norms": inverse_norms(patches),
        "mask": jnp.asarray(tokens.mask),
        **{name: getattr(summary, name) for name in SUMMARY},
        **layers,
        "finite": finite,
    }


def _checked(
    clips: list[dict[str, Any]], out: dict[str, np.ndarray], layout: Layout
) -> dict[str, np.ndarray]:
    """The rows of the real clips of a batch, once they are what was promised."""
    rows = {name: x[: len(clips)] for name, x in out.items()}
    bad = np.flatnonzero(~rows.pop("finite"))
    if len(bad):
        raise InputError(
            f"clip {clips[bad[0]]['id']!r} gives tokens that are not finite: "
            "check its audio, and the weights of the encoder"
        )
    got = rows["patches"].shape[1:]
    if got != layout.grid:
        raise InputError(f"the encoder gives a grid {got} but announces {layout.grid}")
    return rows


class _Assembly:
    """Collects rows until a shard has all of them."""

    def __init__(self, layout: Layout, pending: list[int]):
        self._layout, self._pending = layout, set(pending)
        self._parts: dict[int, list[tuple[dict, list]]] = {}

    def add(
        self, batch: WaveformBatch, rows: dict[str, np.ndarray]
    ) -> Iterator[tuple[int, dict[str, np.ndarray], list[dict]]]:
        """The shards that this batch finishes, as `TokenWriter.write` takes them."""
        start, stop = batch.start, batch.start + len(batch.clips)
        first, last = start // CLIPS_PER_SHARD, (stop - 1) // CLIPS_PER_SHARD
        for shard in range(first, last + 1):
            if shard not in self._pending:
                continue
            whole = self._layout.rows(shard)
            mine = slice(max(whole.start, start) - start, min(whole.stop, stop) - start)
            part = ({name: x[mine] for name, x in rows.items()}, batch.clips[mine])
            self._parts.setdefault(shard, []).append(part)
            if stop >= whole.stop:
                yield shard, *_join(self._parts.pop(shard))


def _join(parts: list[tuple[dict, list]]) -> tuple[dict[str, np.ndarray], list[dict]]:
    rows = {n: np.concatenate([r[n] for r, _ in parts]) for n in parts[0][0]}
    return rows, [clip for _, clips in parts for clip in clips]


def _one_behind(
    batches: Iterator[WaveformBatch], step: Callable[[WaveformBatch], dict[str, Array]]
) -> Iterator[tuple[WaveformBatch, dict[str, np.ndarray]]]:
    """Results on the host, fetched while the device works on the next batch."""
    before = None
    for batch in batches:
        now = batch, step(batch)
        if before is not None:
            yield before[0], jax.device_get(before[1])
        before = now
    if before is not None:
        yield before[0], jax.device_get(before[1])


class _Clock:
    """Says once how long the pass will take, from its first warm batch."""

    def __init__(self, batches: int, say: Callable[[str], None]):
        self._left, self._say = batches, say
        self._before: float | None = None
        self._said = False

    def tick(self, clips: int) -> None:
        """Called after every batch; the first one is slow, it was compiled."""
        now = time.monotonic()
        self._left -= 1
        if self._before is not None and self._left and not self._said:
            self._said, seconds = True, now - self._before
            left = _duration(self._left * seconds)
            self._say(f"about {left} to go, at {clips / seconds:.3g} clips/s")
        self._before = now


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} kB"
