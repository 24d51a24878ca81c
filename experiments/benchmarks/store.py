"""Times writing and reading a token store beside the bare disk and np.memmap.

python -m experiments.benchmarks.store --folder DIR --gigabytes=20

The program writes a store of noise to DIR, in the size of a ViT-base's tokens of 10 s
clips, and reads it back: file after file, clip after clip in random order through
np.memmap (which checks nothing), and in shuffled batches as training does (which checks
every byte). Each way is timed cold, with the pages of the files dropped from memory,
and warm. Then a probe is trained for an epoch from the disk. `--keep` keeps the store
for the next measurement.

Memory is the peak of anonymous resident memory of the process. Cached pages of files do
not count, because the system can reclaim them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import jax
import numpy as np
from absl import flags

from experiments.benchmarks import synthetic_store
from unmute_jax import distributed
from unmute_jax.cli import program
from unmute_jax.config import Optimizer
from unmute_jax.console import progress
from unmute_jax.io import write_atomically
from unmute_jax.probes import make_probe
from unmute_jax.store.key import DTYPES
from unmute_jax.store.layout import CLIPS_PER_SHARD, Layout
from unmute_jax.store.prefetch import map_ahead
from unmute_jax.store.reader import TokenStore
from unmute_jax.tokens import Tokens
from unmute_jax.training import losses
from unmute_jax.training.batches import (
    PREFETCH,
    READERS,
    batches,
    steps_per_epoch,
    training_rows,
)
from unmute_jax.training.data import ProbeData, unpack
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import Trial, init_state, make_train_steps

FOLDER = flags.DEFINE_string("folder", None, "A folder with room for the store.")
GIGABYTES = flags.DEFINE_float("gigabytes", 20.0, "The size of the store in GB.", 0.001)
DTYPE = flags.DEFINE_enum(
    "dtype", "bfloat16", DTYPES, "The type of the stored patches."
)
BATCH = flags.DEFINE_integer("batch", 128, "The number of clips per batch.", 1)
OUTPUT = flags.DEFINE_string("output", None, "A JSON file for the figures.")
KEEP = flags.DEFINE_bool("keep", False, "Keep the store.")
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny tokens, to see that the program runs."
)

BLOCK = 2**23
SMALL_GRID = (5, 2, 16)


@dataclass(frozen=True)
class Figure:
    """One row of the table; `waiting` is the part of `seconds` spent waiting."""

    what: str
    pages: str
    bytes: int
    seconds: float
    waiting: float | None
    anonymous_bytes: int

    @property
    def rate(self) -> float:
        """The rate in 10^9 bytes per second."""
        return self.bytes / self.seconds / 1e9


def main(rest: list[str]) -> None:
    """Writes and reads the store, trains from it, and prints the table."""
    program.only_options(rest)
    path = pathlib.Path(program.required(FOLDER)) / "synthetic"
    grid = SMALL_GRID if SMALL.value else synthetic_store.GRID
    one = layout_of(1, grid, DTYPE.value)
    clips = max(1, round(GIGABYTES.value * 1e9 / one.token_bytes()))
    print(sizes(grid), flush=True)
    figures = list(measure(path, clips, grid))
    if not KEEP.value:
        shutil.rmtree(path)
    if OUTPUT.value:
        found = [dataclasses.asdict(f) | {"gb_per_s": f.rate} for f in figures]
        write_atomically(OUTPUT.value, json.dumps(found, indent=1) + "\n")


def layout_of(
    clips: int, grid: tuple[int, int, int], dtype: str, layers: int = 0
) -> Layout:
    """The layout of a store of noise."""
    return Layout(
        clips=clips,
        grid=grid,
        classes=synthetic_store.CLASSES,
        dtype=dtype,
        layers=layers,
    )


def sizes(grid: tuple[int, int, int]) -> str:
    """A Markdown table of the bytes on disk per clip for each type."""
    lines = ["| type | kB per clip | with 12 layers |", "|---|---|---|"]
    for dtype in ("float32", "bfloat16", "int8"):
        plain, deep = (
            layout_of(CLIPS_PER_SHARD, grid, dtype, layers).disk_bytes
            / CLIPS_PER_SHARD
            / 1000
            for layers in (0, 12)
        )
        lines.append(f"| {dtype} | {plain:.1f} | {deep:.1f} |")
    return "\n".join(lines) + "\n"


def measure(
    path: pathlib.Path, clips: int, grid: tuple[int, int, int]
) -> Iterator[Figure]:
    """Yields all figures, and prints each of them at once."""
    print("| what | pages | GB/s | s | waiting | anonymous memory, MB |")
    print("|---|---|---|---|---|---|", flush=True)
    if not path.exists():
        yield timed("written", "", lambda: written(path, clips, grid))
    store = TokenStore.open(path)
    files = sorted(p for p in (path / "patches/c").rglob("*") if p.is_file())
    ways: dict[str, Callable[[], tuple[int, float | None]]] = {
        "files in order, into one buffer": lambda: in_order(files),
        "files in order, into batches": lambda: into_batches(files, store),
        "np.memmap, shuffled clips": lambda: mapped(files, store),
        "store, shuffled batches": lambda: shuffled(store),
        "epoch of protobin": lambda: epoch(store),
    }
    for what, way in ways.items():
        for pages in ("cold", "warm"):
            if pages == "cold":
                drop_pages(path)
            yield timed(what, pages, way)


def timed(what: str, pages: str, way: Callable[[], tuple[int, float | None]]) -> Figure:
    """Times `way`, which returns bytes and seconds of waiting, and prints its row."""
    with anonymous_memory() as peak:
        start = time.monotonic()
        count, waiting = way()
        seconds = time.monotonic() - start
    found = Figure(what, pages, count, seconds, waiting, peak[0])
    share = "" if waiting is None else f"{waiting / seconds:.0%}"
    print(
        f"| {what} | {pages} | {found.rate:.2f} | {seconds:.1f} | {share} "
        f"| {found.anonymous_bytes / 1e6:.0f} |",
        flush=True,
    )
    return found


# The ways to write and read.


def written(
    path: pathlib.Path, clips: int, grid: tuple[int, int, int]
) -> tuple[int, None]:
    """Writes the store."""
    store = synthetic_store.write_store(path, clips, DTYPE.value, grid)
    return store.layout.disk_bytes, None


def in_order(files: list[pathlib.Path]) -> tuple[int, None]:
    """Reads the files one after the other in large blocks."""
    buffer, count = bytearray(BLOCK), 0
    with progress("in order", len(files), unit="files") as advance:
        for path in files:
            with path.open("rb", buffering=0) as file:
                while got := file.readinto(buffer):
                    count += got
            advance(1)
    return count, None


def into_batches(files: list[pathlib.Path], store: TokenStore) -> tuple[int, None]:
    """Reads the files into new memory for every batch, as training does.

    One reused buffer would stay in the processor's cache, which a batch does not.
    """
    size, count = BATCH.value * store.nbytes() // store.n, 0
    batch, filled = np.empty(size, np.uint8), 0
    for path in files:
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(batch[filled : filled + BLOCK].data):
                count, filled = count + got, filled + got
                if filled == size:
                    batch, filled = np.empty(size, np.uint8), 0
    return count, None


def mapped(files: list[pathlib.Path], store: TokenStore) -> tuple[int, None]:
    """Copies every clip out of memory maps, in random order."""
    by_shard = {int(p.relative_to(store.path).parts[2]): p for p in files}
    maps = {shard: np.memmap(path, np.uint8, "r") for shard, path in by_shard.items()}
    places = {shard: clip_places(file) for shard, file in maps.items()}
    count = 0
    for batch in shuffled_rows(store.n):
        held = []
        for row in batch.tolist():
            shard, i = divmod(row, CLIPS_PER_SHARD)
            start, size = places[shard][i]
            held.append(np.array(maps[shard][start : start + size]))
        count += sum(x.nbytes for x in held)
    return count, None


def clip_places(file: np.ndarray) -> list[tuple[int, int]]:
    """The first byte and the number of bytes of each clip in a shard of patches."""
    index = np.frombuffer(file[-16 * CLIPS_PER_SHARD - 4 : -4].tobytes(), "<u8")
    return [(int(start), int(size)) for start, size in index.reshape(-1, 2)]


def shuffled(store: TokenStore) -> tuple[int, None]:
    """Reads the store in shuffled batches with prefetching, as training does."""
    clips = ProbeData([store], "tokens", cache=False)
    count = 0
    for batch in map_ahead(
        clips.read, shuffled_rows(store.n), threads=READERS, ahead=PREFETCH
    ):
        assert isinstance(batch, Tokens)
        count += batch.patches.nbytes
    return count, None


def epoch(store: TokenStore) -> tuple[int, float]:
    """Trains a small probe for an epoch and measures how long it waits for batches."""
    sharding, size = Sharding(distributed.make_mesh()), BATCH.value
    probe = make_probe(
        "protobin", num_classes=synthetic_store.CLASSES, prototypes_per_class=2
    )
    clips = ProbeData([store], "tokens", cache=False)
    stack = (Trial(learning_rate=0.01, weight_decay=0.0, seed=0),)
    example = unpack(clips.read(np.arange(1)))
    state = sharding.place_state(init_state(probe, example, stack, Optimizer()))
    total = steps_per_epoch(len(clips), size)
    loss = losses.make_loss("bce")
    step = make_train_steps(probe, loss, total, Optimizer(), sharding)
    stream = batches(clips, shuffled_rows(store.n), size, sharding)
    waiting, before = 0.0, time.monotonic()
    with progress("epoch", total, unit="steps") as advance:
        for batch in stream:
            waiting += time.monotonic() - before
            state = step(state, batch)
            jax.block_until_ready(state.count)
            advance(1)
            before = time.monotonic()
    return store.nbytes(), waiting


def shuffled_rows(n: int) -> Iterator[np.ndarray]:
    """The rows of each batch of an epoch."""
    steps = steps_per_epoch(n, BATCH.value)
    return training_rows(n, BATCH.value, seed=0, start=0, stop=steps)


# Measuring the machine.


def drop_pages(path: pathlib.Path) -> None:
    """Drops the cached pages of the files below `path` from memory."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def anonymous_memory() -> Generator[list[int]]:
    """Measures the peak anonymous memory of this process inside the block, in bytes."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], anonymous_now())
            if done.wait(0.02):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def anonymous_now() -> int:
    """Bytes of resident anonymous memory; zero where the system does not report it."""
    with contextlib.suppress(OSError), open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
