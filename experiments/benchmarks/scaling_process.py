"""One process of `benchmark_scaling`: trains whenever it is told to."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.benchmarks.moved_bytes import moved_bytes
from unmute_jax import distributed
from unmute_jax.config import Optimizer
from unmute_jax.distributed import launch
from unmute_jax.io import cache_dir
from unmute_jax.ops.flops import multiply_adds
from unmute_jax.probes import make_probe
from unmute_jax.store.reader import TokenStore
from unmute_jax.training import losses
from unmute_jax.training.batches import (
    ProbeData,
    batches,
    pack,
    step_blocks,
    steps_per_epoch,
    training_rows,
    unpack,
)
from unmute_jax.training.step import (
    Trial,
    count_parameters,
    init_state,
    make_run,
    make_step,
    place_state,
)

# The cosine does not fall in a few steps of so many.
SCHEDULE = 10**9


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is trained, however many devices share it.

    Attributes:
        store: The folder of the tokens.
        trials: In one stack.
        batch_size: Clips of a step.
        streamed: Whether each batch comes from the store; otherwise all clips are on
            every device, where they have room there.
    """

    store: str
    trials: int
    batch_size: int
    streamed: bool


def serve(pipe: Connection, work: Work, spec: str, devices: int) -> None:
    """Answers orders until there are no more.

    (probe, mode) prepares a training and is answered by its `facts`; None runs an
    epoch of it and is answered by the seconds that a step took.

    Args:
        pipe: To whoever gives orders.
        work: The size of the trainings.
        spec: Of the other processes, as `processes.joined` takes it.
        devices: Of this process, virtual ones.
    """
    # Gloo tells at length of its connections, in the midst of the table.
    os.dup2(2, 1)
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with launch.joined(spec):
        mesh = distributed.make_mesh()
        # Until nobody asks any more.
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            order = pipe.recv()
            while True:
                order = _train(order, pipe, work, mesh)


def _train(
    order: tuple[str, str], pipe: Connection, work: Work, mesh: Mesh
) -> tuple[str, str]:
    """One training, from its order to the next, when its memory is free again."""
    training = Training(*order, work, mesh)
    pipe.send(training.facts())
    while (told := pipe.recv()) is None:
        pipe.send(training.epoch())
    return told


class Training:
    """A stack of trials, trained as `training.loop` does it.

    Args:
        name: Of the probe. All of them read tokens here, `linear` as well: it averages
            them, and is nothing but memory traffic.
        mode: "trials", devices share out the trials; "batch", the clips of each batch.
        work: Its size.
        mesh: The devices.
    """

    def __init__(self, name: str, mode: str, work: Work, mesh: Mesh):
        self.work, self.mesh, self.shard_trials = work, mesh, mode == "trials"
        store, settings = TokenStore.open(work.store), Optimizer()
        options = {"input": "mean"} if name == "linear" else {}
        probe = make_probe(name, num_classes=len(store.classes), **options)
        self.clips = ProbeData([store], "tokens", hold=not work.streamed)
        self.steps = steps_per_epoch(len(self.clips), work.batch_size)
        self.held = self.clips.on_devices(mesh)
        stack = tuple(
            Trial(learning_rate=1e-3, weight_decay=1e-4, seed=k)
            for k in range(work.trials)
        )
        one = unpack(self.clips.read(np.arange(1)))
        example = jax.tree.map(jnp.asarray, one)
        state = init_state(probe, example, stack, settings)
        self.state = place_state(state, mesh, shard_trials=self.shard_trials)
        make = make_step if self.held is None else make_run
        loss = losses.make_loss("asymmetric")
        self.program: Any = make(
            probe, loss, SCHEDULE, settings, mesh, shard_trials=self.shard_trials
        )
        self.first = next(self._arguments())
        self.compiled = self.program.lower(self.state, *self.first).compile()

    def facts(self) -> dict[str, int]:
        """On paper: what a step is to each device.

        Token bytes are those of the clips that it reads: from its own memory where
        `held_bytes` are there, and otherwise sent to it.
        """
        rows = self.work.batch_size // (1 if self.shard_trials else self.mesh.size)
        one = jax.tree.leaves(pack(self.clips.read(np.arange(1))))
        return {
            "parameters": count_parameters(self.state.params),
            "multiply_adds": multiply_adds(self.program, self.state, *self.first),
            "token_bytes": rows * sum(x.nbytes for x in one),
            "state_bytes": _on_one_device(self.state),
            "held_bytes": _on_one_device(self.held),
            "moved_bytes": moved_bytes(self.compiled.as_text()),
        }

    def epoch(self) -> float:
        """Seconds per step."""
        started = time.perf_counter()
        for arguments in self._arguments():
            # Virtual devices can hang when many steps are in flight.
            self.state = jax.block_until_ready(self.compiled(self.state, *arguments))
        return (time.perf_counter() - started) / self.steps

    def _arguments(self) -> Iterator[tuple[Any, ...]]:
        """What each call of the program in an epoch takes besides the state."""
        n, size = len(self.clips), self.work.batch_size
        if self.held is None:
            rows = training_rows(n, size, 0, 0, self.steps)
            stream = batches(
                self.clips, rows, size, self.mesh, shard_trials=self.shard_trials
            )
            for batch in stream:
                yield (batch,)
            return
        parts = step_blocks(
            n, size, 0, 0, self.steps, self.mesh, shard_trials=self.shard_trials
        )
        for _, part in parts:
            yield (self.held, *part)


def _on_one_device(tree: Any) -> int:
    """Bytes of what each device has of `tree`."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
