"""Training a stack of trials from where it stopped to its end."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, distributed
from unmute_jax.console import progress
from unmute_jax.distributed import signals
from unmute_jax.probes import Probe
from unmute_jax.training import selection
from unmute_jax.training.batches import (
    ProbeData,
    batches,
    rows_in_order,
    step_blocks,
    steps_per_epoch,
    training_rows,
    unpack,
)
from unmute_jax.training.checkpoints import Checkpoints, History
from unmute_jax.training.step import (
    LossFn,
    Params,
    State,
    Trial,
    init_state,
    make_predict,
    make_run,
    make_step,
    place_state,
)

# Seconds after which a state is written even in the middle of an epoch.
SAVE_EVERY = 300.0
# Steps in flight. More than a few un-awaited collective steps can hang virtual CPU
# devices; on accelerators this many hide the dispatch.
IN_FLIGHT = 4


@dataclass(frozen=True)
class Task:
    """What training may see. The test split is not part of it.

    Attributes:
        name: For progress bars: probe, protocol, stage.
        kind: "multi-label" or "single-label".
        train: The clips to train on.
        validation: The clips to choose on; None in a refit on both.
    """

    name: str
    kind: str
    train: ProbeData
    validation: ProbeData | None


@dataclass(frozen=True)
class Trained:
    """A stack after training.

    Attributes:
        params: Of the reported epoch, with a leading axis of `K` trials.
        state: After the last step, on the host.
        scores: On the validation split, epoch by epoch; None in a refit.
        history: One entry per evaluated epoch: mean losses and scores per trial.
        seconds: Time spent in this process.
    """

    params: Params
    state: State
    scores: selection.ValidationScores | None
    history: History
    seconds: float


def train(
    task: Task,
    probe: Probe,
    stack: tuple[Trial, ...],
    loss: LossFn,
    settings: config.Experiment,
    mesh: Mesh,
    folder: pathlib.Path,
    log: Callable[[History], None] = lambda history: None,
    *,
    begin: tuple[int, State] | None = None,
    epochs: int | None = None,
    shard_trials: bool = False,
) -> Trained:
    """Trains all trials of `stack`, going on from the checkpoints in `folder`.

    The result is the same, bit for bit, however often the run was stopped: the order
    of the clips is a function of (seed, epoch), and the state holds all the rest.

    Args:
        task: The data.
        probe: The module; its parameters are made here.
        stack: The trials.
        loss: From `losses.make_loss`.
        settings: Of the experiment.
        mesh: The devices.
        folder: For checkpoints.
        log: Called with the whole history after each evaluation.
        begin: The epochs that lie behind these trials, and their state after them.
        epochs: After how many epochs to end, if not after all.
        shard_trials: Devices share out the trials, not the batches.

    Raises:
        Stopped: By SIGTERM or Ctrl-C, to any of the processes; the state is saved.
    """
    started = time.monotonic()
    n, size = len(task.train), settings.batch_size
    per_epoch = steps_per_epoch(n, size)
    last = per_epoch * (settings.epochs if epochs is None else epochs)
    first, state = _first_state(task, probe, stack, settings, mesh, begin, shard_trials)
    first *= per_epoch
    predict = _Predictor(probe, size, mesh, shard_trials)

    with Checkpoints(folder) as checkpoints, signals.deferred() as signalled:
        # Go on where an earlier run stopped.
        history: History = []
        if found := checkpoints.latest(state):
            first, state, history = found
            log(history)

        # Train.
        saved = time.monotonic()
        label = f"{task.name} x{len(stack)}"
        moves = _steps(task, probe, loss, settings, mesh, first, last, shard_trials)
        with progress(label, last, unit="steps", done=first) as advance:
            shown = before = first
            for step, move in moves:
                state = move(state)
                if step - shown >= IN_FLIGHT or step % per_epoch == 0:
                    jax.block_until_ready(state.count)
                    advance(step - shown)
                    shown = step
                epoch, rest = divmod(step, per_epoch)
                best = None
                if rest == 0:
                    state, mean_loss = _end_epoch(state, mesh, shard_trials)
                    if epoch % settings.eval_every == 0 or step == last:
                        scores = _evaluate(task, predict, state)
                        history.append(_entry(epoch, mean_loss, scores, len(stack)))
                        log(history)
                        best = _best(history)
                overdue = time.monotonic() - saved > SAVE_EVERY
                signum, due = distributed.global_max(before, step, signalled(), overdue)
                if best is not None or signum or due:
                    unknown = float("nan")
                    score = unknown if best is None else best
                    checkpoints.save(step, state, history, score)
                    saved = time.monotonic()
                if signum:
                    raise signals.Stopped(signum, f"step {step} of {label}")
                before = step

        # What is reported.
        ended = _trials_of(state, len(stack))
        if settings.report_epoch == "best" and (found := checkpoints.best(state)):
            _, state, _ = found
    scores = None
    if task.validation is not None:
        scores = selection.ValidationScores(
            tuple(e["epoch"] for e in history),
            np.asarray([e["validation"] for e in history], np.float64),
        )
    params = _trials_of(state, len(stack)).params
    return Trained(params, ended, scores, history, time.monotonic() - started)


def _first_state(
    task: Task,
    probe: Probe,
    stack: tuple[Trial, ...],
    settings: config.Experiment,
    mesh: Mesh,
    begin: tuple[int, State] | None,
    shard_trials: bool,
) -> tuple[int, State]:
    """The epochs that lie behind, and the state after them, on the devices."""
    if begin is None:
        example = jax.tree.map(jnp.asarray, unpack(task.train.read(np.arange(1))))
        begin = 0, init_state(probe, example, stack, settings.optimizer)
    epoch, state = begin
    if shard_trials and (missing := -len(stack) % mesh.size):
        # Devices have equally many trials: the last one is trained more than once.
        state = jax.tree.map(
            lambda x: np.concatenate([x, np.repeat(x[-1:], missing, 0)]), state
        )
    return epoch, place_state(state, mesh, shard_trials=shard_trials)


def _trials_of(state: State, count: int) -> State:
    """The first `count` trials, on the host."""
    return jax.tree.map(lambda x: x[:count], distributed.to_host(state))


Move = Callable[[State], State]


def _steps(
    task: Task,
    probe: Probe,
    loss: LossFn,
    settings: config.Experiment,
    mesh: Mesh,
    first: int,
    last: int,
    shard_trials: bool,
) -> Iterator[tuple[int, Move]]:
    """What takes a state from step `first` to `last`, a step or some at a time.

    Each move comes with the number of steps after it.
    """
    n, size, seed = len(task.train), settings.batch_size, settings.seed
    total = steps_per_epoch(n, size) * settings.epochs
    chosen = (probe, loss, total, settings.optimizer, mesh)
    if (clips := task.train.on_devices(mesh)) is not None:
        run = make_run(*chosen, shard_trials=shard_trials)
        parts = step_blocks(n, size, seed, first, last, mesh, shard_trials=shard_trials)
        for end, part in parts:
            yield end, lambda state, part=part: run(state, clips, *part)
        return
    step = make_step(*chosen, shard_trials=shard_trials)
    rows = training_rows(n, size, seed, first, last)
    stream = batches(task.train, rows, size, mesh, shard_trials=shard_trials)
    for i, batch in enumerate(stream, start=first + 1):
        yield i, lambda state, batch=batch: step(state, batch)


def logits(
    probe: Probe, params: Params, clips: ProbeData, size: int, mesh: Mesh
) -> np.ndarray:
    """Logits of all clips, in their own order: `[B, K, C]`, or `[B, K, T, C]`."""
    return _Predictor(probe, size, mesh)(params, clips)


@dataclass(frozen=True)
class _Predictor:
    """Logits of all trials for all clips, in the order of the clips."""

    probe: Probe
    size: int
    mesh: Mesh
    shard_trials: bool = False

    def __call__(self, params: Params, clips: ProbeData) -> np.ndarray:
        predict = make_predict(
            self.probe,
            self.mesh,
            framewise=clips.is_framewise,
            shard_trials=self.shard_trials,
        )
        rows = list(rows_in_order(len(clips), self.size))
        stream = batches(
            clips, iter(rows), self.size, self.mesh, shard_trials=self.shard_trials
        )
        # Every batch may end in padding rows, where the devices do not divide `size`.
        parts = [
            np.asarray(predict(params, batch.packed))[: len(real)]
            for real, batch in zip(rows, stream, strict=True)
        ]
        return np.concatenate(parts)


def _evaluate(task: Task, predict: _Predictor, state: State) -> np.ndarray | None:
    if task.validation is None:
        return None
    outputs = predict(state.params, task.validation)
    return selection.score(*task.validation.flatten_valid(outputs), task.kind)


def _end_epoch(
    state: State, mesh: Mesh, shard_trials: bool
) -> tuple[State, np.ndarray]:
    """The mean losses of the epoch that ends, and a state that counts from zero."""
    loss_sum, count = distributed.to_host((state.loss_sum, state.count))
    place = distributed.split_over_devices if shard_trials else distributed.replicate
    zeros = np.zeros_like(count)
    fresh = {"loss_sum": place(zeros, mesh), "count": place(zeros, mesh)}
    return dataclasses.replace(state, **fresh), loss_sum / count


def _entry(
    epoch: int, mean_loss: np.ndarray, scores: np.ndarray | None, count: int
) -> dict[str, Any]:
    """Of the first `count` trials, which are those that were asked for."""
    entry: dict[str, Any] = {"epoch": epoch, "loss": [float(x) for x in mean_loss]}
    if scores is not None:
        entry["validation"] = [float(x) for x in scores]
    return {k: v[:count] if isinstance(v, list) else v for k, v in entry.items()}


def _best(history: History) -> float:
    """The best validation score of the last evaluation; NaN where there is none."""
    scores = np.asarray(history[-1].get("validation", [np.nan]), np.float64)
    return float(np.nanmax(scores)) if np.isfinite(scores).any() else float("nan")
