"""Decides how many trials of a search share a pass over the tokens.

Each further trial of a stack saves reading the tokens, what is computed of them alone,
and a launch. Where the probe itself is the work, as with many prototypes, there is
nothing to save, and a program of many trials may be slower than its parts. Where the
balance lies differs by device, so it is measured if the search is long enough.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, distributed
from unmute_jax.training import memory
from unmute_jax.training.batches import batches, steps_per_epoch
from unmute_jax.training.data import Batch, ProbeData, pack
from unmute_jax.training.loop import Task, first_state
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.step import (
    State,
    Trial,
    count_parameters,
    device_step,
    make_train_steps,
)

# Trials per device in the stack that is measured: what four do not save, more do not.
MEASURED_TRIALS = 4
# The share of the trials' time that a stack must save to be worth its memory.
LEAST_GAIN = 0.05
# Seconds of a search that are worth a measurement, which compiles two programs.
LONG_SEARCH = 120.0
# The hyper-parameters of what is measured; they make no difference.
_TRIAL = Trial(learning_rate=1e-3, weight_decay=0.0, seed=0)


def trials_at_once(task: Task, settings: config.Experiment, mesh: Mesh) -> int:
    """How many trials fit into the free memory of all devices, the same everywhere.

    One trial is compiled, which tells how much memory its step takes. Part of that is
    shared by all trials of a stack, so that the answer is never too high.

    Args:
        task: The probe, its loss and its data.
        settings: The experiment's settings.
        mesh: The devices.
    """
    # The clips take their memory first, so that it is not given to trials as well.
    task.train.on_devices(mesh)
    return memory.trials_that_fit(bytes_per_trial(task, settings, mesh), mesh)


def fastest_stack(
    task: Task, settings: config.Experiment, mesh: Mesh, most: int
) -> int:
    """`most`, or one trial per device if a stack brings nothing.

    It is measured with steps on the first clips. A search that is short anyway is not
    worth that, and clips that are read from disk in each pass are better read for many
    trials. All processes take the same turns and get the same answer.

    Args:
        task: The probe, its loss and its data.
        settings: The experiment's settings.
        mesh: The devices.
        most: The number of trials that there are or that fit, the same everywhere.
    """
    few = min(most, MEASURED_TRIALS * mesh.size)
    # One process may have the clips in memory and another not.
    is_cached = distributed.global_min(task.train.is_cached)
    if few <= mesh.size or not is_cached:
        return most

    alone = TimedSteps(task, settings, Sharding.for_trials(mesh, mesh.size), mesh.size)
    alone.run()
    first = _seconds(alone)
    steps = settings.epochs * steps_per_epoch(len(task.train), settings.batch_size)
    count = settings.sweep.sobol + settings.sweep.tpe
    if not distributed.global_min(first * steps * count / mesh.size > LONG_SEARCH):
        return most

    stacked = TimedSteps(task, settings, Sharding.for_trials(mesh, few), few)
    stacked.run()
    taken = [(_seconds(alone), _seconds(stacked)) for _ in range(3)]
    one, many = (statistics.median(seconds) for seconds in zip(*taken, strict=True))
    pays = distributed.global_min(many / few < (1 - LEAST_GAIN) * one / mesh.size)
    return most if pays else mesh.size


def _seconds(steps: TimedSteps) -> float:
    started = time.perf_counter()
    steps.run()
    return time.perf_counter() - started


class TimedSteps:
    """Steps of some trials on the first clips, to be timed.

    Attributes:
        parameters: The number of trainable parameters of one trial.
    """

    def __init__(
        self, task: Task, settings: config.Experiment, sharding: Sharding, count: int
    ):
        """Places `count` trials and a batch on the devices."""
        size = min(settings.batch_size, len(task.train))
        memory.check_batch(size, task.train.read(np.arange(1)), sharding.mesh)
        rows = np.arange(size)
        (self._batch,) = batches(task.train, iter([rows]), size, sharding)
        state = first_state(task, (_TRIAL,) * count, settings)
        self.parameters = count_parameters(state.params)
        self._state = sharding.place_state(sharding.pad_trials(state))
        self._step = make_train_steps(
            task.probe, task.loss, 1, settings.optimizer, sharding
        )

    def run(self) -> None:
        """Takes one step of all trials and waits for it; the first call compiles it."""
        self._state = self._step(self._state, self._batch)
        jax.block_until_ready(self._state.count)


def bytes_per_trial(task: Task, settings: config.Experiment, mesh: Mesh) -> int:
    """Memory of one trial: its state, and what one step of it needs besides."""
    state = jax.eval_shape(lambda: first_state(task, (_TRIAL,), settings))
    # Where the trials are split, a step has no collectives: one device compiles it.
    sharding = Sharding(mesh, "trials")
    step = device_step(task.probe, task.loss, 1, settings.optimizer, sharding)
    batch = _example_batch(task.train, settings.batch_size)
    leaves, structure = jax.tree.flatten(batch)

    # Leaves, because JAX rebuilds arguments of other things than arrays.
    def run(state: State, leaves: list[Any]) -> State:
        return step(state, jax.tree.unflatten(structure, leaves))

    compiled = jax.jit(run, donate_argnums=0).lower(state, leaves).compile()
    needed: Any = compiled.memory_analysis()
    state_bytes = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    return state_bytes + needed.temp_size_in_bytes


def _example_batch(clips: ProbeData, batch_size: int) -> Batch:
    """The first clip as often as a batch has clips, as views that take no memory."""
    size = min(batch_size, len(clips))
    one = Batch(
        pack(clips.read(np.arange(1))),
        clips.targets[:1].astype(np.float32),
        clips.weights[:1],
    )
    return jax.tree.map(lambda x: np.broadcast_to(x, (size, *x.shape[1:])), one)
