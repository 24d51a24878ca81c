"""Times the steps from files to tokens: reading, preparing, encoding, storing.

python -m experiments.benchmarks.pipeline
python -m experiments.benchmarks.pipeline --dataset=esc_mix --encoders=logmel,eat

Four things are timed on the first clips of a split: reading and decoding the clips one
by one; the input pipeline (reading, resampling and batching in threads) for the first
encoder; each encoder on waveforms in memory; and the whole pass to tokens on disk. The
parts overlap if the pass is nearly as fast as its slowest part. The encoders are
untrained.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
from absl import flags

from experiments.benchmarks import side_by_side
from unmute_jax import distributed
from unmute_jax.cli import program
from unmute_jax.datasets import Dataset, load_dataset
from unmute_jax.encoders import Encoder, load_encoder
from unmute_jax.store.batches import (
    default_batch_size,
    input_lengths,
    waveform_batches,
)
from unmute_jax.store.embed import embed

DATASET = flags.DEFINE_string("dataset", "esc10", "The name of a data set.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "The folder of your own copy of the data set."
)
ENCODERS = flags.DEFINE_list(
    "encoders", ["logmel", "eat"], "The encoders, separated by commas."
)
CLIPS = flags.DEFINE_integer("clips", 64, "The number of clips.", lower_bound=1)
LENGTHS = flags.DEFINE_integer(
    "lengths", 1, "The number of input lengths.", lower_bound=1
)
BATCH = flags.DEFINE_integer(
    "batch", None, "Clips per step; by default it depends on the device.", lower_bound=1
)
REPEATS = flags.DEFINE_integer(
    "repeats", 2, "The number of runs, of which the fastest counts.", lower_bound=1
)
SMALL = flags.DEFINE_bool(
    "small", False, "Use tiny networks, to see that the program runs."
)


def main(rest: list[str]) -> None:
    """Measures all steps and prints the table."""
    program.only_options(rest)
    dataset, split = first_clips(CLIPS.value)
    encoders = [untrained(name) for name in ENCODERS.value]
    clips, size = dataset.splits[split], BATCH.value or default_batch_size()
    rows: list[list[str]] = []

    def measure(name: str, what: str, work: Callable[[Dataset], object]) -> None:
        # The first call loads libraries and compiles networks.
        work(first_clips(2 * size)[0])
        seconds = min(timed(lambda: work(dataset)) for _ in range(REPEATS.value))
        print(f"{what} {name}: {clips / seconds:.3g} clips/s", flush=True)
        rows.append([what, name, f"{seconds:.2f}", f"{clips / seconds:.3g}"])

    def read(dataset: Dataset) -> None:
        list(dataset.source_of(split))

    def prepare(dataset: Dataset) -> None:
        list(batches(encoders[0], dataset, split, size))

    measure("", "reading", read)
    measure(encoders[0].name, "pipeline", prepare)
    for encoder in encoders:
        batch = next(batches(encoder, dataset, split, size)).padded(size)
        encode = encoder.on(distributed.make_mesh(1))

        def alone(
            dataset: Dataset, encode: Callable = encode, batch: tuple = batch
        ) -> None:
            for _ in range(0, dataset.splits[split], size):
                jax.block_until_ready(encode(*batch).patches)

        def whole(dataset: Dataset, encoder: Encoder = encoder) -> None:
            with tempfile.TemporaryDirectory() as root:
                embed(
                    encoder,
                    dataset,
                    split,
                    root=root,
                    lengths=LENGTHS.value,
                    batch_size=size,
                    log=lambda _: None,
                )

        measure(encoder.name, "encoder", alone)
        measure(encoder.name, "whole pass", whole)
    print(
        f"\n{dataset.name} {split}: {clips} clips of up to {dataset.clip_seconds:g} s, "
        f"{size} per step; {side_by_side.cores()} cores, {jax.device_count()} x "
        f"{jax.devices()[0].device_kind}\n"
    )
    print(side_by_side.table(["", "", "seconds", "clips/s"], rows))


def first_clips(most: int) -> tuple[Dataset, str]:
    """The data set with its first split cut to `most` clips, and that split's name."""
    dataset = load_dataset(DATASET.value, data_dir=DATA_DIR.value)
    split, count = next(iter(dataset.splits.items()))
    shorter = {**dataset.splits, split: min(count, most)}
    return dataclasses.replace(dataset, splits=shorter), split


def untrained(name: str) -> Encoder:
    """An encoder with random weights."""
    if name == "logmel":
        encoder = load_encoder(name)
    elif SMALL.value:
        encoder = load_encoder(
            name, weights="untrained", width=32, depth=1, num_heads=2
        )
    else:
        encoder = load_encoder(name, weights="untrained")
    return encoder


def batches(encoder: Encoder, dataset: Dataset, split: str, size: int) -> Iterator:
    """Yields the batches that the encoder gets."""
    lengths = input_lengths(encoder, dataset.clip_seconds, LENGTHS.value)
    ready = waveform_batches(encoder, dataset, split, size, lengths=lengths)
    with contextlib.closing(iter(ready)) as found:
        yield from found


def timed(work: Callable[[], object]) -> float:
    """The seconds that one call takes."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
