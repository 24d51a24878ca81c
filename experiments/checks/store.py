"""Kills the writers of token stores and alters their bytes; no harm may come of it.

python -m experiments.checks.store --kills=20 --corruptions=100

Two processes embed the same data set into one cache at once. Each is killed with
SIGKILL at random moments of its pass and started again, until there were enough kills.
Their store must equal that of an undisturbed process, file by file and byte by byte.
Then single bytes of a store are altered and files are truncated, anywhere, one at a
time, and intact files take the place of others: verifying must find all of it, and
reading must never return it. At last several shards are damaged at once, and embedding
again must restore every byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable

import jax
import numpy as np
from absl import flags

from experiments.checks import killable
from experiments.checks.killable import KILLS, RANDOM_SEED, Killable
from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.layout import DAMAGE_MARKS, Layout
from unmute_jax.store.maintenance import store_folders
from unmute_jax.store.manifest import MANIFEST
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import metadata_files

CORRUPTIONS = flags.DEFINE_integer("corruptions", 100, "Number of altered bytes.", 1)
CLIPS = flags.DEFINE_integer("clips", 2000, "Clips whose writers are killed.")

# Clips of the store whose bytes are altered: two shards, the last one ragged.
SMALL = 70
# Output of a writer that shows that it has begun to write.
BEGINS = b" to write to "
# Suffix of files that tensorstore has not yet written as a whole.
PARTIAL = ".__lock"
# A description of the trials, their number, and what went wrong.
Result = tuple[str, int, list[str]]


def main(rest: list[str]) -> None:
    """Runs all trials and prints a table; exits with 1 if anything went wrong."""
    program.only_options(rest)
    rng = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = pathlib.Path(folder, "undisturbed")
        seconds = write(undisturbed)
        print(f"an undisturbed writer takes {seconds:.0f} s", flush=True)
        results = [
            kill_writers(undisturbed, pathlib.Path(folder, "killed"), seconds, rng)
        ]
        store, other = (
            next(p for p in store_folders(undisturbed / "tokens") if f"-{s}-" in p.name)
            for s in ("validation", "test")
        )
        results += [alter_bytes(store, rng), truncate_files(store, rng)]
        results += [exchange_files(store, other, rng)]
        results += [repair(store, rng, lambda: write(undisturbed))]
    print("| trial | times | failures |\n|---|---|---|")
    for trial, times, failures in results:
        print(f"| {trial} | {times} | {len(failures)} |")
    for line in (line for *_, failures in results for line in failures):
        print(f"failure: {line}")
    if any(failures for *_, failures in results):
        sys.exit(1)


# Kills


def write(
    cache: pathlib.Path,
    count: int = 1,
    lifetimes: Iterable[float] = (),
    killed: Callable[[], None] = lambda: None,
) -> float:
    """Fills a cache through `killable.run` and returns the seconds it took."""
    sizes = {"train": CLIPS.value, "validation": SMALL, "test": SMALL}
    options = [f"--config.dataset_options.{s}_clips={n}" for s, n in sizes.items()]
    arguments = ["--config=configs/quickstart.py", *options]

    def start() -> Killable:
        return Killable("embed", arguments, cache, start_marker=BEGINS)

    return killable.run(start, count, lifetimes, killed)[1]


def kill_writers(
    undisturbed: pathlib.Path,
    killed: pathlib.Path,
    seconds: float,
    rng: random.Random,
) -> Result:
    """Kills pairs of writers, in as many caches as it takes for enough kills.

    Args:
        undisturbed: Cache of the undisturbed writer.
        killed: Cache of the killed writers.
        seconds: Duration of the undisturbed pass.
        rng: Source of the moments of the kills.
    """
    half_written, rounds, failures = list[bool](), 0, list[str]()
    with progress("kills", KILLS.value, unit="kills") as advance:

        def note() -> None:
            half_written.append(is_half_written(killed / "tokens"))
            advance(1)

        while (left := KILLS.value - len(half_written)) > 0:
            shutil.rmtree(killed, ignore_errors=True)
            killable.share_caches(undisturbed, killed, ("datasets", "compiled"))
            lifetimes = [rng.uniform(0, seconds / 2) for _ in range(left)]
            write(killed, 2, lifetimes, note)
            rounds += 1
            failures += file_differences(undisturbed / "tokens", killed / "tokens")
    trial = (
        f"kills of two writers, {rounds} times until all was written "
        f"({sum(half_written)} left shards half written)"
    )
    return trial, len(half_written), failures


def is_half_written(tokens: pathlib.Path) -> bool:
    """Whether a shard has some of its files, or a part of one."""
    for path in store_folders(tokens):
        layout = Layout.from_manifest(json.loads((path / MANIFEST).read_bytes()))
        for shard in layout.shards:
            exist = {(path / name).exists() for name in layout.shard_files(shard)}
            if exist == {True, False}:
                return True
    return any(tokens.rglob(f"*{PARTIAL}"))


def file_differences(undisturbed: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Returns the files that are not the same in two folders."""
    ours, theirs = (
        {str(p.relative_to(root)): p for p in files_of(root)}
        for root in (undisturbed, other)
    )
    return [
        f"{name} differs from that of the undisturbed writer"
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours
        or name not in theirs
        or ours[name].read_bytes() != theirs[name].read_bytes()
    ]


def files_of(root: pathlib.Path) -> list[pathlib.Path]:
    """Returns all whole files in a folder that are not empty."""
    files = (p for p in root.rglob("*") if p.is_file() and p.suffix != PARTIAL)
    return sorted(p for p in files if p.stat().st_size)


# Damage


def alter_bytes(path: pathlib.Path, rng: random.Random) -> Result:
    """Alters single bytes of a store, one at a time."""
    wanted, files, failures = content(path), files_of(path), []
    with progress("altered bytes", CORRUPTIONS.value, unit="bytes") as advance:
        for _ in range(CORRUPTIONS.value):
            file = rng.choice(files)
            data = file.read_bytes()
            i = rng.randrange(len(data))
            byte = bytes([data[i] ^ rng.randrange(1, 256)])
            with replaced(file, data[:i] + byte + data[i + 1 :]):
                where = f"{file.relative_to(path)}, byte {i}"
                failures += undetected(path, wanted, where)
            advance(1)
    return "altered bytes", CORRUPTIONS.value, failures


def truncate_files(path: pathlib.Path, rng: random.Random) -> Result:
    """Truncates one file of every kind, as a full disk or a bad copy might."""
    wanted, layout, failures = content(path), TokenStore.open(path).layout, []
    shard = rng.choice(layout.shards)
    names = [MANIFEST, *metadata_files(layout), *layout.shard_files(shard)]
    for file in (path / name for name in names):
        data = file.read_bytes()
        length = rng.randrange(len(data))
        with replaced(file, data[:length]):
            where = f"{file.relative_to(path)}, truncated to {length} bytes"
            failures += undetected(path, wanted, where)
    return "truncated files", len(names), failures


def exchange_files(
    path: pathlib.Path, other: pathlib.Path, rng: random.Random
) -> Result:
    """Puts intact files in the place of others, one at a time.

    Args:
        path: The store that is damaged.
        other: Store of another split, whose files take the place of those of the same
            name. Files of the store itself take the place of others of equal size.
        rng: Source of the choices.
    """
    wanted, failures = content(path), []
    pairs = [
        (file, donor)
        for file in files_of(path)
        for donor in (other / file.relative_to(path), *files_of(path))
        if donor.stat().st_size == file.stat().st_size or path not in donor.parents
        if donor.read_bytes() != file.read_bytes()
    ]
    pairs = rng.sample(pairs, min(len(pairs), CORRUPTIONS.value))
    with progress("exchanged files", len(pairs), unit="files") as advance:
        for file, donor in pairs:
            with replaced(file, donor.read_bytes()):
                where = (
                    f"{file.relative_to(path)} holds {donor.relative_to(path.parent)}"
                )
                failures += undetected(path, wanted, where)
            advance(1)
    return "exchanged files", len(pairs), failures


@contextlib.contextmanager
def replaced(file: pathlib.Path, data: bytes) -> Generator[None]:
    """Replaces the content of a file, and afterwards removes all traces of that."""
    original = file.read_bytes()
    file.write_bytes(data)
    yield
    file.write_bytes(original)
    store = next(p for p in file.parents if (p / MANIFEST).exists())
    shutil.rmtree(store / DAMAGE_MARKS, ignore_errors=True)


def undetected(path: pathlib.Path, wanted: str, where: str) -> list[str]:
    """Returns a line if verifying misses the damage, and one if reading returns it."""
    failures = []
    with contextlib.suppress(InputError):
        if content(path) != wanted:
            failures.append(f"{where}: read without an error")
    if not verify_store(path):
        failures.append(f"{where}: not found by --verify")
    return failures


def content(path: pathlib.Path) -> str:
    """Returns a digest of everything that training reads of a store."""
    store = TokenStore.open(path)
    tokens, summary = store.read(np.arange(store.n)), store.summary()
    arrays = jax.tree.leaves((tokens, summary, store.labels))
    digest = hashlib.sha256(repr((store.ids, store.events, store.classes)).encode())
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def repair(
    path: pathlib.Path, rng: random.Random, write_again: Callable[[], object]
) -> Result:
    """Damages a file of every shard, verifies the store, and embeds again."""
    original = {file: file.read_bytes() for file in files_of(path)}
    layout = TokenStore.open(path).layout
    for shard in layout.shards:
        file = path / rng.choice(layout.shard_files(shard))
        file.write_bytes(original[file][:-1])
    verify_store(path)
    write_again()
    now = {file: file.read_bytes() for file in files_of(path)}
    failures = [] if now == original else [f"{path.name}: not as before the damage"]
    return "damaged shards that embedding restores", len(layout.shards), failures


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
