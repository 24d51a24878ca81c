"""Batches of clips, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from unmute_jax import distributed
from unmute_jax.store.prefetch import map_ahead
from unmute_jax.training.data import Batch, ProbeData, pack
from unmute_jax.training.sharding import Sharding

# Batches that are read ahead of the step that uses them, and the threads that read
# them: while one waits for the disk, another puts clips together.
PREFETCH = 2
READERS = 2
# Steps in one call where the clips are on the devices: enough to hide the dispatch, few
# enough that the progress bar moves.
STEPS_PER_BLOCK = 16


class StepBlock(NamedTuple):
    """Several training steps on clips that are on the devices.

    Attributes:
        clips: All clips.
        rows: The clips of each batch, one column per step.
        real: One for clips of the batch, zero for rows that pad it.
        steps: The number of columns to use.
    """

    clips: Batch
    rows: Int[jax.Array, "B S"]
    real: Float[jax.Array, "B S"]
    steps: Int[jax.Array, ""]


def epoch_order(seed: int, epoch: int, n: int) -> Int[np.ndarray, "n"]:
    """The order of the clips, a function of (seed, epoch) and of nothing else."""
    stream = np.random.SeedSequence([seed, epoch])
    return np.random.Generator(np.random.PCG64(stream)).permutation(n)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches in an epoch, the shorter last one included."""
    return -(-n // batch_size)


def training_rows(
    n: int, batch_size: int, seed: int, start: int, stop: int
) -> Iterator[Int[np.ndarray, "B"]]:
    """The rows of each step from `start` to `stop`; the last of an epoch may be fewer.

    Args:
        n: The number of clips.
        batch_size: Clips in a batch.
        seed: The seed of the order.
        start: The first step, counted from the beginning of the training.
        stop: The step after the last one.
    """
    per_epoch = steps_per_epoch(n, batch_size)
    order, current = np.empty(0, np.int64), -1
    for step in range(start, stop):
        epoch, i = divmod(step, per_epoch)
        if epoch != current:
            order, current = epoch_order(seed, epoch, n), epoch
        yield order[i * batch_size : (i + 1) * batch_size]


def rows_in_order(n: int, batch_size: int) -> Iterator[Int[np.ndarray, "B"]]:
    """All rows once, in their own order."""
    for start in range(0, n, batch_size):
        yield np.arange(start, min(start + batch_size, n))


def training_inputs(
    clips: ProbeData,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    sharding: Sharding,
) -> Iterator[tuple[int, Batch | StepBlock]]:
    """The inputs of all steps from `start` to `stop`.

    They are blocks of several steps if all clips fit on the devices, and otherwise
    single batches, read ahead from memory or from the token store.

    Args:
        clips: The clips to train on.
        batch_size: Clips in a batch.
        seed: The seed of the order.
        start: Steps that were taken before.
        stop: Steps to end after.
        sharding: The way in which the devices share the work.

    Yields:
        The number of steps after this input, and the input.
    """
    if clips.on_devices(sharding.mesh) is not None:
        yield from step_blocks(clips, batch_size, seed, start, stop, sharding)
        return
    rows = training_rows(len(clips), batch_size, seed, start, stop)
    stream = batches(clips, rows, batch_size, sharding)
    yield from enumerate(stream, start=start + 1)


def batches(
    clips: ProbeData,
    rows: Iterator[np.ndarray],
    batch_size: int,
    sharding: Sharding,
) -> Iterator[Batch]:
    """Batches on the devices, read ahead in threads.

    Every batch has the same shape, `batch_size` (or the number of clips, if there are
    fewer) rounded up to a multiple of the number of devices, so that nothing is
    compiled twice. Each process reads only the rows that its devices need.

    Args:
        clips: The clips to read from.
        rows: The clips of each batch.
        batch_size: The most clips in a batch.
        sharding: The way in which the devices share the work.
    """
    width = sharding.padded_batch_size(min(batch_size, len(clips)))

    def make(chosen: np.ndarray) -> Batch:
        padded = np.concatenate([chosen, np.repeat(chosen[:1], width - len(chosen))])
        is_real = np.arange(width) < len(chosen)
        padded, is_real = sharding.local_rows((padded, is_real))
        weight = clips.weights[padded]
        weight[~is_real] = 0
        targets = clips.targets[padded].astype(np.float32)
        return sharding.place_batch(Batch(pack(clips.read(padded)), targets, weight))

    yield from map_ahead(make, rows, threads=READERS, ahead=PREFETCH)


def step_blocks(
    clips: ProbeData,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    sharding: Sharding,
) -> Iterator[tuple[int, StepBlock]]:
    """The steps from `start` to `stop`, several at a time, on clips on the devices.

    A block ends with its epoch at the latest. Arguments and values are those of
    `training_inputs`.
    """
    on_devices = clips.on_devices(sharding.mesh)
    assert on_devices is not None
    n = len(clips)
    width = sharding.padded_batch_size(min(batch_size, n))
    per_epoch = steps_per_epoch(n, batch_size)
    length = min(per_epoch, STEPS_PER_BLOCK)
    while start < stop:
        rest = per_epoch - start % per_epoch
        end = min(stop, start + min(rest, length))
        rows = np.zeros((width, length), np.int32)
        real = np.zeros((width, length), np.float32)
        for i, chosen in enumerate(training_rows(n, batch_size, seed, start, end)):
            rows[: len(chosen), i], rows[len(chosen) :, i] = chosen, chosen[0]
            real[: len(chosen), i] = 1
        placed = sharding.place_batch(sharding.local_rows((rows, real)))
        steps = distributed.replicate_read_only(np.int32(end - start), sharding.mesh)
        yield end, StepBlock(on_devices, placed[0], placed[1], steps)
        start = end
