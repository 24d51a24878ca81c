"""Training a stack of trials from where it stopped to its end."""

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
from jax.sharding import Mesh

from unmute_jax import config, parallel
from unmute_jax.probes import Probe
from unmute_jax.progress import progress
from unmute_jax.training import inputs as inp
from unmute_jax.training import selection, trials
from unmute_jax.training.checkpoints import Checkpoints, History

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
    train: inp.Inputs
    validation: inp.Inputs | None


@dataclass(frozen=True)
class Trained:
    """A stack after training.

    Attributes:
        params: Of the reported epoch, with a leading axis of `K` trials.
        scores: On the validation split, epoch by epoch; None in a refit.
        history: One entry per evaluated epoch: mean losses and scores per trial.
        seconds: Time spent in this process.
    """

    params: trials.Params
    scores: selection.ValidationScores | None
    history: History
    seconds: float


def train(
    task: Task,
    probe: Probe,
    stack: tuple[trials.Trial, ...],
    loss: trials.LossFn,
    settings: config.Experiment,
    mesh: Mesh,
    folder: pathlib.Path,
    log: Callable[[History], None] = lambda history: None,
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
    """
    started = time.monotonic()
    n, size = len(task.train), settings.batch_size
    per_epoch = inp.steps_per_epoch(n, size)
    total = per_epoch * settings.epochs
    example = jax.tree.map(jnp.asarray, inp.unpack(task.train.read(np.arange(1))))
    state = trials.init_state(probe, example, stack, settings.optimizer)
    state = parallel.replicate(state, mesh)
    step_fn = trials.make_step(probe, loss, stack, total, settings.optimizer, mesh)
    predict = trials.make_predict(probe, mesh, framewise=task.train.is_framewise)

    with Checkpoints(folder) as checkpoints:
        # Go on where an earlier run stopped.
        first, history = 0, []
        if found := checkpoints.latest(state):
            first, state, history = found
            log(history)

        # Train.
        saved = time.monotonic()
        rows = inp.training_rows(n, size, settings.seed, first, total)
        label = f"{task.name} x{len(stack)}"
        with progress(label, total, unit="steps", done=first) as advance:
            stream = inp.batches(task.train, rows, size, mesh)
            for step, batch in enumerate(stream, start=first + 1):
                state = step_fn(state, batch)
                if step % IN_FLIGHT == 0:
                    jax.block_until_ready(state.count)
                advance(1)
                epoch, rest = divmod(step, per_epoch)
                if rest == 0:
                    state, mean_loss = _end_epoch(state, mesh)
                    due = epoch % settings.eval_every == 0 or step == total
                    if due:
                        scores = _evaluate(task, predict, state, size, mesh)
                        history.append(
                            _entry(epoch, mean_loss, scores, task.validation)
                        )
                        log(history)
                else:
                    due = time.monotonic() - saved > SAVE_EVERY
                if due:
                    best = _best(history) if rest == 0 else float("nan")
                    checkpoints.save(step, state, history, best)
                    saved = time.monotonic()

        # What is reported.
        if settings.report_epoch == "best" and (found := checkpoints.best(state)):
            _, state, _ = found
    scores = None
    if task.validation is not None:
        scores = selection.ValidationScores(
            tuple(e["epoch"] for e in history),
            np.asarray([e["validation"] for e in history], np.float64),
        )
    return Trained(state.params, scores, history, time.monotonic() - started)


def logits(
    probe: Probe, params: trials.Params, clips: inp.Inputs, size: int, mesh: Mesh
) -> np.ndarray:
    """Logits of all clips, in their own order: `[B, K, C]`, or `[B, K, T, C]`."""
    predict = trials.make_predict(probe, mesh, framewise=clips.is_framewise)
    return _predict_all(predict, params, clips, size, mesh)


def _predict_all(
    predict: trials.Predict,
    params: trials.Params,
    clips: inp.Inputs,
    size: int,
    mesh: Mesh,
) -> np.ndarray:
    rows = list(inp.rows_in_order(len(clips), size))
    stream = inp.batches(clips, iter(rows), size, mesh)
    # Every batch may end in padding rows, where the devices do not divide `size`.
    parts = [
        np.asarray(predict(params, batch.packed))[: len(real)]
        for real, batch in zip(rows, stream, strict=True)
    ]
    return np.concatenate(parts)


def _evaluate(
    task: Task, predict: trials.Predict, state: trials.State, size: int, mesh: Mesh
) -> np.ndarray | None:
    if task.validation is None:
        return None
    outputs = _predict_all(predict, state.params, task.validation, size, mesh)
    return selection.score(*task.validation.judged(outputs), task.kind)


def _end_epoch(state: trials.State, mesh: Mesh) -> tuple[trials.State, np.ndarray]:
    """The mean losses of the epoch that ends, and a state that counts from zero."""
    mean = np.asarray(state.loss_sum) / np.asarray(state.count)
    zeros = (np.zeros_like(mean), np.zeros((), np.float32))
    loss_sum, count = parallel.replicate(zeros, mesh)
    return dataclasses.replace(state, loss_sum=loss_sum, count=count), mean


def _entry(
    epoch: int,
    mean_loss: np.ndarray,
    scores: np.ndarray | None,
    validation: inp.Inputs | None,
) -> dict[str, Any]:
    entry: dict[str, Any] = {"epoch": epoch, "loss": [float(x) for x in mean_loss]}
    if validation is not None and scores is not None:
        entry["validation"] = [float(x) for x in scores]
    return entry


def _best(history: History) -> float:
    """The best validation score of the last evaluation; NaN where there is none."""
    scores = np.asarray(history[-1].get("validation", [np.nan]), np.float64)
    return float(np.nanmax(scores)) if np.isfinite(scores).any() else float("nan")
