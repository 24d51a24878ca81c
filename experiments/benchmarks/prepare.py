"""Measures time, memory and disk space of preparing data sets of many or long clips.

python -m experiments.benchmarks.prepare
python -m experiments.benchmarks.prepare --clips=100000 --recordings=100

The program writes clips of one second, and recordings of one hour, as FLAC files with
16 bits at 22.05 kHz, and prepares each data set in a process of its own: once a tenth
of it, and once all of it. Memory is the peak resident memory of that process, which
should not grow with the number of clips.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile

import numpy as np
import soundfile as sf
from absl import flags

from experiments.benchmarks.measured_process import measure
from unmute_jax.cli import program
from unmute_jax.console import progress, size_text

CLIPS = flags.DEFINE_integer("clips", 10_000, "The number of clips of one second.")
RECORDINGS = flags.DEFINE_integer("recordings", 20, "The number of long recordings.")
SMALL = flags.DEFINE_bool(
    "small", False, "Use a few short clips, to see that the program runs."
)

RATE = 22_050
CLASSES = ("a", "b")


def main(rest: list[str]) -> None:
    """Writes the recordings, prepares them, and prints a table."""
    program.only_options(rest)
    kinds = [(CLIPS.value, 1), (RECORDINGS.value, 3600)]
    if SMALL.value:
        kinds = [(20, 1)]
    print(
        "| clips | length | time | clips per second | hours of sound per minute "
        "| peak memory | files | prepared |\n|---:|---:|---:|---:|---:|---:|---:|---:|"
    )
    for clips, seconds in kinds:
        with tempfile.TemporaryDirectory() as folder:
            files = pathlib.Path(folder) / "files"
            for count in sorted({max(10, clips // 10), clips}):
                write_clips(files, count, seconds)
                print(row(files, count, seconds, pathlib.Path(folder)), flush=True)


def write_clips(folder: pathlib.Path, count: int, seconds: int) -> None:
    """Writes those of `count` clips that do not exist yet.

    The clips are decaying noise; no two are equal.
    """
    noise = np.random.default_rng(0).standard_normal(60 * RATE).astype(np.float32)
    noise *= 0.2 * np.exp(-np.arange(len(noise)) % RATE / 4000).astype(np.float32)
    for kind in CLASSES:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    with progress("writing", count, unit="files") as advance:
        for i in range(count):
            path = folder / CLASSES[i % len(CLASSES)] / f"{i}.flac"
            if not path.exists():
                with sf.SoundFile(path, "w", RATE, 1, compression_level=0.0) as file:
                    missing = seconds * RATE
                    while missing:
                        part = np.roll(noise, 977 * i)[:missing]
                        file.write(part)
                        missing -= len(part)
            advance(1)


def row(files: pathlib.Path, count: int, seconds: int, folder: pathlib.Path) -> str:
    """Prepares the clips in a folder and returns a row of the table.

    Args:
        files: The folder of the clips.
        count: Their number.
        seconds: The length of each clip in seconds.
        folder: A folder for the prepared data set.
    """
    cache = folder / f"cache-{count}"
    took, peak = measure(
        sys.executable, "-m", "unmute_jax.datasets", f"folder:{files}",
        UNMUTE_CACHE=str(cache),
    )  # fmt: skip
    return (
        f"| {count:,} | {seconds} s | {took:.1f} s | {count / took:.3g} "
        f"| {count * seconds / 60 / took:.3g} | {size_text(peak)} "
        f"| {size_text(size_of(files))} | {size_text(size_of(cache))} |"
    )


def size_of(folder: pathlib.Path) -> int:
    """Returns the size of all files in a folder, in bytes."""
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    )


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
