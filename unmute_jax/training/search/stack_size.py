"""How many trials share a pass over the tokens: as many as fit, or no stack at all.

A trial more in a stack saves the reading of the tokens, what is computed of them alone,
and a launch. Where the probe itself is the work, as with a large bank of prototypes,
there is nothing to save, and programs of many trials may be slower than their parts.
Where that lies differs by device, so it is measured, if the search is long enough.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, distributed
from unmute_jax.probes import Probe
from unmute_jax.training.batches import (
    Batch,
    ProbeData,
    batches,
    pack,
    steps_per_epoch,
    unpack,
)
from unmute_jax.training.step import (
    LossFn,
    State,
    Trial,
    count_parameters,
    device_step,
    init_state,
    make_step,
    place_state,
)

# Of the memory that is free; the rest is for what others start in the meantime.
SHARE = 0.6
# Trials per device in the stack that is measured: what four do not save, more do not.
FEW = 4
# What a stack must save of the time of its trials to be worth its memory.
GAIN = 0.05
# Seconds of a search that a measurement, which compiles two programs, is worth.
LONG = 120.0


def trials_at_once(
    probe: Probe,
    loss: LossFn,
    clips: ProbeData,
    settings: config.Experiment,
    mesh: Mesh,
) -> int:
    """Trials whose step fits into what is free of the memory of all devices.

    One trial is compiled, which tells how much its step takes; part of that is shared
    by all trials of a stack, so that this is never too many.
    """
    need = bytes_per_trial(probe, loss, clips, settings)
    shares = mesh.size if jax.default_backend() == "cpu" else 1
    room = SHARE * distributed.free_memory() / shares
    return max(1, int(room / need)) * mesh.size


def fastest(
    probe: Probe,
    loss: LossFn,
    clips: ProbeData,
    settings: config.Experiment,
    mesh: Mesh,
    most: int,
) -> int:
    """`most`, or one trial per device where a stack brings nothing.

    Measured with steps on the first clips; a search that is short at any width is not
    worth that, and clips that are read in each pass are better read for many trials.

    Args:
        probe: The module.
        loss: From `losses.make_loss`.
        clips: To train on.
        settings: Of the experiment.
        mesh: The devices.
        most: Trials that there are or that fit, a multiple of the devices or fewer.
    """
    few = min(most, FEW * mesh.size)
    if few <= mesh.size or not clips.is_held:
        return most

    chosen, shard_trials = (probe, loss, clips, settings, mesh), mesh.size > 1
    alone = Steps(*chosen, mesh.size, shard_trials=shard_trials)
    alone.run()
    first = _seconds(alone)
    steps = settings.epochs * steps_per_epoch(len(clips), settings.batch_size)
    count = settings.sweep.sobol + settings.sweep.tpe
    # Processes must take the same turns.
    long = distributed.global_min(first * steps * count / mesh.size > LONG)
    if not long:
        return most

    stacked = Steps(*chosen, few, shard_trials=shard_trials)
    stacked.run()
    taken = [(_seconds(alone), _seconds(stacked)) for _ in range(3)]
    one, many = (statistics.median(found) for found in zip(*taken, strict=True))
    pays = distributed.global_min(many / few < (1 - GAIN) * one / mesh.size)
    return most if pays else mesh.size


def _seconds(steps: Steps) -> float:
    started = time.perf_counter()
    steps.run()
    return time.perf_counter() - started


class Steps:
    """Steps of some trials on the first clips, to be timed.

    Attributes:
        parameters: Trainable numbers of one trial.
    """

    def __init__(
        self,
        probe: Probe,
        loss: LossFn,
        clips: ProbeData,
        settings: config.Experiment,
        mesh: Mesh,
        count: int,
        *,
        shard_trials: bool,
    ):
        """Places `count` trials; all arguments as of `trials.make_step` and above."""
        size = settings.batch_size
        rows = np.arange(size) % len(clips)
        (self._batch,) = batches(
            clips, iter([rows]), size, mesh, shard_trials=shard_trials
        )
        trial = Trial(learning_rate=1e-3, weight_decay=0.0, seed=0)
        example = jax.tree.map(jnp.asarray, unpack(clips.read(rows[:1])))
        state = init_state(probe, example, (trial,) * count, settings.optimizer)
        self.parameters = count_parameters(state.params)
        self._state = place_state(state, mesh, shard_trials=shard_trials)
        self._step = make_step(
            probe, loss, 1, settings.optimizer, mesh, shard_trials=shard_trials
        )

    def run(self) -> None:
        """One step of all trials, to its end; the first one compiles it."""
        self._state = self._step(self._state, self._batch)
        jax.block_until_ready(self._state.count)


def bytes_per_trial(
    probe: Probe,
    loss: LossFn,
    clips: ProbeData,
    settings: config.Experiment,
) -> int:
    """Memory of one trial: its state, and what a step of it needs besides."""
    one = pack(clips.read(np.arange(1)))
    targets = clips.targets[:1].astype(np.float32)
    # Arrays that take no memory: their rows are one row.
    batch = jax.tree.map(
        lambda x: np.broadcast_to(x, (settings.batch_size, *x.shape[1:])),
        Batch(one, targets, clips.weights[:1]),
    )
    trial = Trial(learning_rate=1e-3, weight_decay=0.0, seed=0)
    example = jax.tree.map(jnp.asarray, unpack(one))
    state = jax.eval_shape(
        lambda: init_state(probe, example, (trial,), settings.optimizer)
    )
    step = device_step(probe, loss, 1, settings.optimizer, shard_trials=True)
    leaves, structure = jax.tree.flatten(batch)

    # Leaves, because what JAX makes of arguments on the way is no `Tokens`.
    def run(state: State, leaves: list[Any]) -> State:
        return step(state, jax.tree.unflatten(structure, leaves))

    compiled = jax.jit(run, donate_argnums=0).lower(state, leaves).compile()
    plan: Any = compiled.memory_analysis()
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    return held + plan.temp_size_in_bytes
