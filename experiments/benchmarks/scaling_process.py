"""One process of the scaling benchmark, which trains on request."""

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
from unmute_jax.ops.flops import count_multiply_adds
from unmute_jax.probes import make_probe
from unmute_jax.store.reader import TokenStore
from unmute_jax.training import losses
from unmute_jax.training.batches import StepBlock, steps_per_epoch, training_inputs
from unmute_jax.training.data import Batch, ProbeData, pack, unpack
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import (
    Trial,
    count_parameters,
    init_state,
    make_train_steps,
)

# With so many steps the cosine schedule stays constant.
SCHEDULE = 10**9


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is trained, however many devices share it.

    Attributes:
        store: The folder of the tokens.
        trials: Number of trials in the stack.
        batch_size: Number of clips per step.
        streamed: Whether each batch is read from the store. Otherwise all clips are on
            every device, if they fit there.
    """

    store: str
    trials: int
    batch_size: int
    streamed: bool


def serve(pipe: Connection, work: Work, spec: str, devices: int) -> None:
    """Answers requests until the pipe is closed.

    The request (probe, mode) prepares a training and is answered with its `facts`. The
    request None runs an epoch and is answered with the seconds that a step took.

    Args:
        pipe: The connection to the controlling process.
        work: The size of the trainings.
        spec: The address of the processes, as for `launch.joined`.
        devices: Number of virtual devices of this process.
    """
    # Gloo reports its connections on the standard output, where the table is.
    os.dup2(2, 1)
    jax.config.update("jax_num_cpu_devices", devices)
    jax.config.update("jax_compilation_cache_dir", str(cache_dir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    with launch.joined(spec):
        mesh = distributed.make_mesh()
        # The controlling process closes the pipe at the end.
        with contextlib.suppress(EOFError, KeyboardInterrupt):
            order = pipe.recv()
            while True:
                order = _train(order, pipe, work, mesh)


def _train(
    order: tuple[str, str], pipe: Connection, work: Work, mesh: Mesh
) -> tuple[str, str]:
    """Serves one training until the next is requested, which frees its memory."""
    training = Training(*order, work, mesh)
    pipe.send(training.facts())
    while (told := pipe.recv()) is None:
        pipe.send(training.epoch())
    return told


class Training:
    """Trains a stack of trials as `training.loop` does.

    Args:
        name: The probe's name. `linear` averages tokens here, so that it only reads
            memory.
        mode: "trials" to split the trials over the devices, "batch" to split the clips.
        work: The size of the training.
        mesh: The devices.
    """

    def __init__(self, name: str, mode: str, work: Work, mesh: Mesh):
        self.work = work
        self.sharding = Sharding(mesh, "trials" if mode == "trials" else "clips")
        store, settings = TokenStore.open(work.store), Optimizer()
        options = {"input": "mean"} if name == "linear" else {}
        probe = make_probe(name, num_classes=len(store.classes), **options)
        self.clips = ProbeData([store], "tokens", cache=not work.streamed)
        self.steps = steps_per_epoch(len(self.clips), work.batch_size)
        self.held = self.clips.on_devices(mesh)
        stack = tuple(
            Trial(learning_rate=1e-3, weight_decay=1e-4, seed=k)
            for k in range(work.trials)
        )
        one = unpack(self.clips.read(np.arange(1)))
        example = jax.tree.map(jnp.asarray, one)
        state = init_state(probe, example, stack, settings)
        self.state = self.sharding.place_state(state)
        loss = losses.make_loss("asymmetric")
        self.program = make_train_steps(probe, loss, SCHEDULE, settings, self.sharding)
        self.first = next(self._inputs())
        program: Any = jax.jit(self.program, donate_argnums=0)
        self.compiled = program.lower(self.state, self.first).compile()

    def facts(self) -> dict[str, int]:
        """Counts what a step costs each device.

        Token bytes are those of the clips that the device reads, from its own memory
        if `held_bytes` is not zero, and otherwise from the host.
        """
        devices = 1 if self.sharding.splits_trials else self.sharding.mesh.size
        rows = self.work.batch_size // devices
        one = jax.tree.leaves(pack(self.clips.read(np.arange(1))))
        return {
            "parameters": count_parameters(self.state.params),
            "multiply_adds": count_multiply_adds(self.program, self.state, self.first),
            "token_bytes": rows * sum(x.nbytes for x in one),
            "state_bytes": _on_one_device(self.state),
            "held_bytes": _on_one_device(self.held),
            "moved_bytes": moved_bytes(self.compiled.as_text()),
        }

    def epoch(self) -> float:
        """Runs an epoch and returns the seconds per step."""
        started = time.perf_counter()
        for inputs in self._inputs():
            # Virtual devices can hang when many steps are in flight.
            self.state = jax.block_until_ready(self.compiled(self.state, inputs))
        return (time.perf_counter() - started) / self.steps

    def _inputs(self) -> Iterator[Batch | StepBlock]:
        """The inputs of all steps of an epoch."""
        size, sharding = self.work.batch_size, self.sharding
        for _, inputs in training_inputs(self.clips, size, 0, 0, self.steps, sharding):
            yield inputs


def _on_one_device(tree: Any) -> int:
    """Bytes of the part of `tree` that each device has."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))
