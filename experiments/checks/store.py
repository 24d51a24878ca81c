"""Kills the writers of token stores and alters their bytes; nothing may come of it.

python -m experiments.checks.store --kills=20 --corruptions=100

Two processes embed the same data set into one cache at once, each killed with SIGKILL
at random moments of its pass and started again, until there were so many kills; what
they leave must be what one process writes undisturbed, file by file, to the last byte.
Then single bytes of a store are altered and files cut short, anywhere, one at a time:
all of it must be found, by who verifies and by who reads. Last, several shards are
damaged at once, and embedding again must bring every byte back.
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
from experiments.checks.killable import Killable
from unmute_jax.cli import program
from unmute_jax.console import progress
from unmute_jax.errors import InputError
from unmute_jax.store.damage import verify_store
from unmute_jax.store.layout import DAMAGE_MARKS, Layout
from unmute_jax.store.maintenance import store_folders
from unmute_jax.store.manifest import MANIFEST
from unmute_jax.store.reader import TokenStore
from unmute_jax.store.writer import metadata_files

KILLS = flags.DEFINE_integer("kills", 20, "Least number of kills.", 0)
CORRUPTIONS = flags.DEFINE_integer("corruptions", 100, "Number of altered bytes.", 1)
RANDOM_SEED = flags.DEFINE_integer("random_seed", 0, "Of moments, files and places.")
CLIPS = flags.DEFINE_integer("clips", 2000, "Clips of the store that is fought over.")

# Clips of the store whose bytes are altered: two shards, the last one ragged.
SMALL = 70
# What a writer says when it begins.
BEGINS = b" to write to "
# What tensorstore calls a file until it is whole.
PART = ".__lock"
# What was done, how often, and what was amiss.
Row = tuple[str, int, list[str]]


def main(rest: list[str]) -> None:
    """Does all of it; prints a table, and ends with 1 where anything was amiss."""
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}")
    draw = random.Random(RANDOM_SEED.value)
    with tempfile.TemporaryDirectory() as folder:
        calm = pathlib.Path(folder, "calm")
        whole = write(calm)
        print(f"an undisturbed writer takes {whole:.0f} s", flush=True)
        rows = [fight(calm, pathlib.Path(folder, "killed"), whole, draw)]
        (store,) = (
            p for p in store_folders(calm / "tokens") if "-validation-" in p.name
        )
        rows += [alter(store, draw), cut_short(store, draw), rebuild(calm, store, draw)]
    print("| what | times | amiss |\n|---|---|---|")
    for what, times, amiss in rows:
        print(f"| {what} | {times} | {len(amiss)} |")
    for line in (line for *_, amiss in rows for line in amiss):
        print(f"amiss: {line}")
    if any(amiss for *_, amiss in rows):
        sys.exit(1)


# Kills


def write(
    cache: pathlib.Path,
    count: int = 1,
    lives: Iterable[float] = (),
    killed: Callable[[], None] = lambda: None,
) -> float:
    """Lets writers fill a cache, as `killable.run` does; the seconds they wrote."""
    sizes = {"train": CLIPS.value, "validation": SMALL, "test": SMALL}
    options = [f"--config.dataset_options.{s}_clips={n}" for s, n in sizes.items()]
    arguments = ["--config=configs/quickstart.py", *options]

    def start() -> Killable:
        return Killable("embed", arguments, cache, begins=BEGINS)

    return killable.run(start, count, lives, killed)[1]


def fight(
    calm: pathlib.Path, killed: pathlib.Path, whole: float, draw: random.Random
) -> Row:
    """Kills until there were enough, in as many caches as that takes."""
    halves, rounds, amiss = list[bool](), 0, list[str]()
    with progress("kills", KILLS.value, unit="kills") as advance:

        def note() -> None:
            halves.append(is_half_written(killed / "tokens"))
            advance(1)

        while (left := KILLS.value - len(halves)) > 0:
            shutil.rmtree(killed, ignore_errors=True)
            killable.share(calm, killed, ("datasets", "compiled"))
            write(killed, 2, [draw.uniform(0, whole / 2) for _ in range(left)], note)
            rounds += 1
            amiss += file_differences(calm / "tokens", killed / "tokens")
    what = f"kills of two writers, {rounds} times until all was written"
    return f"{what} ({sum(halves)} left shards half written)", len(halves), amiss


def is_half_written(tokens: pathlib.Path) -> bool:
    """Whether a shard has some of its files, or a part of one."""
    for path in store_folders(tokens):
        layout = Layout.from_manifest(json.loads((path / MANIFEST).read_bytes()))
        files = [
            [path / n for n in layout.shard_files(shard)] for shard in layout.shards
        ]
        there = [{file.exists() for file in shard} for shard in files]
        if {True, False} in there:
            return True
    return any(tokens.rglob(f"*{PART}"))


def file_differences(calm: pathlib.Path, other: pathlib.Path) -> list[str]:
    """The files that are not the same in two folders."""
    ours, theirs = (
        {str(p.relative_to(root)): p for p in files_of(root)} for root in (calm, other)
    )
    return [
        f"{name} differs from that of the undisturbed writer"
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours
        or name not in theirs
        or ours[name].read_bytes() != theirs[name].read_bytes()
    ]


def files_of(root: pathlib.Path) -> list[pathlib.Path]:
    """All whole files in a folder that hold anything."""
    there = (p for p in root.rglob("*") if p.is_file() and p.suffix != PART)
    return sorted(p for p in there if p.stat().st_size)


# Damage


def alter(path: pathlib.Path, draw: random.Random) -> Row:
    """Alters single bytes, one at a time."""
    wanted, files, amiss = content(path), files_of(path), []
    with progress("altered bytes", CORRUPTIONS.value, unit="bytes") as advance:
        for _ in range(CORRUPTIONS.value):
            file = draw.choice(files)
            data = file.read_bytes()
            place = draw.randrange(len(data))
            byte = bytes([data[place] ^ draw.randrange(1, 256)])
            harmed = data[:place] + byte + data[place + 1 :]
            with holding(file, harmed):
                where = f"{file.relative_to(path)}, byte {place}"
                amiss += unseen(path, wanted, where)
            advance(1)
    return "altered bytes", CORRUPTIONS.value, amiss


def cut_short(path: pathlib.Path, draw: random.Random) -> Row:
    """Cuts files short, one of every kind, as a full disk or a bad copy might."""
    wanted, layout, amiss = content(path), TokenStore.open(path).layout, []
    shard = draw.choice(layout.shards)
    names = [MANIFEST, *metadata_files(layout), *layout.shard_files(shard)]
    for file in (path / name for name in names):
        data = file.read_bytes()
        length = draw.randrange(len(data))
        with holding(file, data[:length]):
            where = f"{file.relative_to(path)}, cut to {length} bytes"
            amiss += unseen(path, wanted, where)
    return "files cut short", len(names), amiss


@contextlib.contextmanager
def holding(file: pathlib.Path, harmed: bytes) -> Generator[None]:
    """Lets a file hold other bytes for a while, then takes all traces away."""
    data = file.read_bytes()
    file.write_bytes(harmed)
    yield
    file.write_bytes(data)
    store = next(p for p in file.parents if (p / MANIFEST).exists())
    shutil.rmtree(store / DAMAGE_MARKS, ignore_errors=True)


def unseen(path: pathlib.Path, wanted: str, where: str) -> list[str]:
    """What is amiss: harm that --verify does not find, or that somebody reads."""
    amiss = []
    with contextlib.suppress(InputError):
        if content(path) != wanted:
            amiss.append(f"{where}: read without complaint")
    if not verify_store(path):
        amiss.append(f"{where}: not found by --verify")
    return amiss


def content(path: pathlib.Path) -> str:
    """A digest of all that training reads of a store, as it reads it."""
    store = TokenStore.open(path)
    tokens, summary = store.read(np.arange(store.n)), store.summary()
    arrays = jax.tree.leaves((tokens, summary, store.labels))
    digest = hashlib.sha256(repr((store.ids, store.events, store.classes)).encode())
    for array in arrays:
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def rebuild(calm: pathlib.Path, path: pathlib.Path, draw: random.Random) -> Row:
    """Harms a file of every shard, verifies, and embeds again."""
    whole = {file: file.read_bytes() for file in files_of(path)}
    layout = TokenStore.open(path).layout
    for shard in layout.shards:
        file = path / draw.choice(layout.shard_files(shard))
        file.write_bytes(whole[file][:-1])
    verify_store(path)
    write(calm)
    now = {file: file.read_bytes() for file in files_of(path)}
    amiss = [] if now == whole else [f"{path.name}: not as it was before the harm"]
    return "harmed shards that embedding makes again", len(layout.shards), amiss


if __name__ == "__main__":
    program.launch_plain(main, __doc__)
