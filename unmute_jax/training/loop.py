"""Trains a stack of trials from where it stopped to its end."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unmute_jax import config, distributed
from unmute_jax.console import progress
from unmute_jax.distributed import signals
from unmute_jax.probes import Probe
from unmute_jax.training import memory, selection
from unmute_jax.training.batches import (
    batches,
    rows_in_order,
    steps_per_epoch,
    training_inputs,
)
from unmute_jax.training.checkpoints import Checkpoints, History, Saved
from unmute_jax.training.data import ProbeData, unpack
from unmute_jax.training.sharding import Sharding
from unmute_jax.training.starts import same_for_all
from unmute_jax.training.step import (
    LossFn,
    Params,
    State,
    Trial,
    init_state,
    make_keep_better,
    make_predict,
    make_train_steps,
)

# Seconds after which a state is also saved in the middle of an epoch.
SAVE_EVERY = 300.0
# Steps in flight. More than a few un-awaited collective steps can hang virtual CPU
# devices; on accelerators this many hide the dispatch.
IN_FLIGHT = 4


@dataclass(frozen=True)
class Task:
    """What is trained, and on what. The test split is not part of it.

    Attributes:
        name: The probe, protocol and stage, for progress bars.
        kind: "multi-label" or "single-label".
        probe: The probe.
        loss: The loss per example, as returned by `losses.make_loss`.
        train: The clips to train on.
        validation: The clips to choose on; None in a refit on both.
    """

    name: str
    kind: str
    probe: Probe
    loss: LossFn
    train: ProbeData
    validation: ProbeData | None


@dataclass(frozen=True)
class Trained:
    """A stack of trials after training.

    Attributes:
        params: Parameters at the reported epoch of each trial, with a leading axis of
            `K` trials.
        state: The state after the last step, on the host.
        scores: Scores on the validation split, epoch by epoch; None in a refit.
        history: One entry per evaluation, with mean losses per trial, and unless it is
            a refit with scores on the validation split, and whether a trial gave all of
            its clips the same output (as `starts.same_for_all`).
    """

    params: Params
    state: State
    scores: selection.ValidationScores | None
    history: History


def train(
    task: Task,
    stack: tuple[Trial, ...],
    settings: config.Experiment,
    sharding: Sharding,
    folder: pathlib.Path,
    log: Callable[[History], None] = lambda history: None,
    *,
    begin: tuple[int, State] | None = None,
    epochs: int | None = None,
) -> Trained:
    """Trains all trials of `stack`, from the checkpoint in `folder` if there is one.

    The result is the same, bit for bit, however often the run was stopped: the order
    of the clips is a function of (seed, epoch), and the state holds everything else.

    Args:
        task: The probe, its loss and its data.
        stack: The trials.
        settings: The experiment's settings.
        sharding: The way in which the devices share the work.
        folder: The folder for checkpoints.
        log: A function that is called with the whole history after each evaluation.
        begin: Epochs that were trained before, and the state of the trials after them.
        epochs: The epoch to end after, if it is not the last one.

    Raises:
        InputError: A batch does not fit into the free memory.
        Stopped: SIGTERM or Ctrl-C came to one of the processes; the state is saved.
    """
    # Prepare.
    size = min(settings.batch_size, len(task.train))
    memory.check_batch(size, task.train.read(np.arange(1)), sharding.mesh)
    per_epoch = steps_per_epoch(len(task.train), settings.batch_size)
    last = per_epoch * (settings.epochs if epochs is None else epochs)
    epoch, state = begin or (0, first_state(task, stack, settings))
    first = per_epoch * epoch
    state = sharding.place_state(sharding.pad_trials(state))
    train_steps = make_train_steps(
        task.probe,
        task.loss,
        per_epoch * settings.epochs,
        settings.optimizer,
        sharding,
    )
    history: History = []
    # The parameters of each trial's best epoch, where those are reported.
    best = None
    if settings.report_epoch == "best" and task.validation is not None:
        best = _keep_better(state.params, state.params, sharding, [True] * len(stack))
    label = f"{task.name} x{len(stack)}"

    with Checkpoints(folder) as checkpoints, signals.deferred() as signalled:
        # Go on where an earlier run stopped.
        if saved := checkpoints.latest(state, best):
            first, state, best, history = (
                saved.step,
                saved.state,
                saved.best,
                saved.history,
            )
            log(history)

        # Train.
        saved_at, shown, before = time.monotonic(), first, first
        inputs_in_order = training_inputs(
            task.train, settings.batch_size, settings.seed, first, last, sharding
        )
        with progress(label, last, unit="steps", done=first) as advance:
            for step, inputs in inputs_in_order:
                state = train_steps(state, inputs)

                # Wait for the devices.
                if step - shown >= IN_FLIGHT or step % per_epoch == 0:
                    jax.block_until_ready(state.count)
                    advance(step - shown)
                    shown = step

                # Evaluate after an epoch.
                epoch, rest = divmod(step, per_epoch)
                is_evaluated = rest == 0 and (
                    epoch % settings.eval_every == 0 or step == last
                )
                if rest == 0:
                    state, mean_loss = _end_epoch(state, sharding)
                    if is_evaluated:
                        found = _evaluate(task, state, settings.batch_size, sharding)
                        history.append(_entry(epoch, mean_loss, found, len(stack)))
                        log(history)
                        if best is not None:
                            is_best = _improved(history)
                            best = _keep_better(best, state.params, sharding, is_best)

                # Save, and stop if a signal came.
                overdue = time.monotonic() - saved_at > SAVE_EVERY
                signum, due = distributed.global_max(before, step, signalled(), overdue)
                if is_evaluated or signum or due:
                    checkpoints.save(Saved(step, state, best, history))
                    saved_at = time.monotonic()
                if signum:
                    raise signals.Stopped(signum, f"step {step} of {label}")
                before = step

    return Trained(
        params=_trials_of(state.params if best is None else best, len(stack)),
        state=_trials_of(state, len(stack)),
        scores=None if task.validation is None else _scores_in(history),
        history=history,
    )


def first_state(
    task: Task, stack: tuple[Trial, ...], settings: config.Experiment
) -> State:
    """The state of the trials before the first step."""
    example = jax.tree.map(jnp.asarray, unpack(task.train.read(np.arange(1))))
    return init_state(task.probe, example, stack, settings.optimizer)


def logits(
    probe: Probe,
    params: Params,
    clips: ProbeData,
    batch_size: int,
    sharding: Sharding,
) -> np.ndarray:
    """Logits of all trials for all clips, in the order of the clips.

    Args:
        probe: The probe.
        params: Parameters with a leading axis of `K` trials, on the devices.
        clips: The clips.
        batch_size: Clips in a batch.
        sharding: The way in which the devices share the work.

    Returns:
        Logits of shape `[n, K, C]`, or `[n, K, T, C]` where time steps are examples.
    """
    predict = make_predict(probe, sharding, framewise=clips.is_framewise)
    rows = list(rows_in_order(len(clips), batch_size))
    stream = batches(clips, iter(rows), batch_size, sharding)
    # Every batch may end in padding rows, where the devices do not divide its size.
    parts = [
        np.asarray(predict(params, batch.packed))[: len(real)]
        for real, batch in zip(rows, stream, strict=True)
    ]
    return np.concatenate(parts)


def _evaluate(
    task: Task, state: State, batch_size: int, sharding: Sharding
) -> dict[str, np.ndarray]:
    """What the history notes of the validation clips; nothing in a refit."""
    if task.validation is None:
        return {}
    outputs = logits(task.probe, state.params, task.validation, batch_size, sharding)
    examples, truth = task.validation.flatten_valid(outputs)
    return {
        "validation": selection.score(examples, truth, task.kind),
        "same_for_all": same_for_all(examples, task.kind),
    }


def _end_epoch(state: State, sharding: Sharding) -> tuple[State, np.ndarray]:
    """A state whose sums begin again, and the mean losses of the epoch that ended."""
    loss_sum, count = distributed.to_host((state.loss_sum, state.count))
    # Placed one by one: the same array must not be donated twice.
    zeros = {
        name: sharding.place_state(np.zeros_like(count))
        for name in ("loss_sum", "count")
    }
    return dataclasses.replace(state, **zeros), loss_sum / count


def _entry(
    epoch: int, mean_loss: np.ndarray, found: dict[str, np.ndarray], count: int
) -> dict[str, Any]:
    """The history's entry for the first `count` trials; others only fill devices."""
    values = {"loss": mean_loss, **found}
    return {"epoch": epoch, **{k: v[:count].tolist() for k, v in values.items()}}


def _scores_in(history: History) -> selection.ValidationScores:
    return selection.ValidationScores(
        tuple(entry["epoch"] for entry in history),
        np.asarray([entry["validation"] for entry in history], np.float64),
    )


def _improved(history: History) -> list[bool]:
    """Which trials have their best score in the last evaluation."""
    rows = selection.best_evaluations(_scores_in(history).scores)
    return [row == len(history) - 1 for row in rows.tolist()]


def _keep_better(
    best: Params, params: Params, sharding: Sharding, improved: list[bool]
) -> Params:
    """The parameters of the trials that `improved`, the best so far of the others."""
    chosen = sharding.place_state(sharding.pad_trials(np.asarray(improved)))
    return make_keep_better(sharding)(best, params, chosen)


def _trials_of(tree: Any, count: int) -> Any:
    """The first `count` trials, on the host; others only fill devices."""
    return jax.tree.map(lambda x: x[:count], distributed.to_host(tree))
