"""Trains several trials of one probe in one compiled program.

Trials are stacked along a leading axis. A step sees one batch and updates all of them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from unmute_jax import config, distributed
from unmute_jax.probes import Probe
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training.batches import StepBlock
from unmute_jax.training.data import Batch, unpack
from unmute_jax.training.optimizer import adamw, learning_rate
from unmute_jax.training.sharding import Sharding

Params = Any
Made = TypeVar("Made", bound=Callable)
LossFn = Callable[[Array, Array], Array]
Predict = Callable[[Params, Tokens | Summary], Array]


# One compiled function per set of arguments: stacks of the same width compile once.
def _cached(make: Made) -> Made:
    return cast(Made, functools.lru_cache(maxsize=8)(make))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The learning rate (at its peak), weight decay and seed of one training."""

    learning_rate: float
    weight_decay: float
    seed: int


@flax.struct.dataclass
class State:
    """The state of `K` trials in training; every leaf has a leading axis of K.

    Attributes:
        params: Parameters of the probe.
        opt_state: State of the optimiser, which counts the steps.
        rates: Learning rates at their peak, shape `[K]`.
        decays: Weight decays, shape `[K]`.
        loss_sum: Sum of the losses of this epoch's examples so far, shape `[K]`.
        count: Number of those examples (clips, or valid time steps), shape `[K]`.
    """

    params: Params
    opt_state: optax.OptState
    # Checkpoints describe states by shapes alone, so these cannot be typed as arrays.
    rates: Any
    decays: Any
    loss_sum: Any
    count: Any


def optimizer_for(
    rate: Any, decay: Any, total_steps: int, settings: config.Optimizer
) -> optax.GradientTransformation:
    """AdamW with the schedule of `optimizer.learning_rate`.

    Args:
        rate: The learning rate at its peak. It and `decay` may be traced, so that one
            program serves many trials.
        decay: The weight decay.
        total_steps: Steps of the whole schedule.
        settings: The optimiser's settings.
    """
    return adamw(
        lambda count: learning_rate(count, rate, total_steps, settings),
        b1=settings.b1,
        b2=settings.b2,
        eps=settings.eps,
        weight_decay=decay,
    )


def init_state(
    probe: Probe,
    example: Tokens | Summary,
    trials: tuple[Trial, ...],
    settings: config.Optimizer,
) -> State:
    """The state before the first step; parameters depend on each trial's seed alone.

    Args:
        probe: The probe.
        example: The inputs of the probe for one clip.
        trials: The trials to stack.
        settings: The optimiser's settings.
    """

    def init(seed: Array) -> tuple[Params, optax.OptState]:
        params = probe.init(jax.random.key(seed), example)["params"]
        return params, optimizer_for(0.0, 0.0, 1, settings).init(params)

    seeds = jnp.asarray([t.seed for t in trials], jnp.uint32)
    # One trial after the other: a stacked draw would tie a trial to its neighbours.
    made = [jax.jit(init)(seed) for seed in seeds]
    params, opt_state = jax.tree.map(lambda *xs: jnp.stack(xs), *made)
    return State(
        params,
        opt_state,
        rates=jnp.asarray([t.learning_rate for t in trials], jnp.float32),
        decays=jnp.asarray([t.weight_decay for t in trials], jnp.float32),
        # Two arrays: one that is donated twice brings the process down.
        loss_sum=jnp.zeros(len(trials), jnp.float32),
        count=jnp.zeros(len(trials), jnp.float32),
    )


@_cached
def make_train_steps(
    probe: Probe,
    loss: LossFn,
    total_steps: int,
    settings: config.Optimizer,
    sharding: Sharding,
) -> Callable[[State, Batch | StepBlock], State]:
    """Compiles `train_steps(state, inputs) -> state`. The given state is donated.

    A `Batch` is one step of all trials; a `StepBlock` is several.

    Args:
        probe: The probe.
        loss: The loss per example, as returned by `losses.make_loss`.
        total_steps: Steps of the whole schedule.
        settings: The optimiser's settings.
        sharding: The way in which the devices share the work.
    """
    step = device_step(probe, loss, total_steps, settings, sharding)

    def block(
        state: State, clips: Batch, rows: Array, real: Array, steps: Any
    ) -> State:
        def body(i: Any, state: State) -> State:
            chosen, weight = rows[:, i], real[:, i]
            batch: Batch = jax.tree.map(
                lambda x: jnp.take(x, chosen, axis=0, mode="clip"), clips
            )
            shape = (-1, *[1] * (batch.weight.ndim - 1))
            scaled = batch.weight * weight.reshape(shape)
            return step(state, dataclasses.replace(batch, weight=scaled))

        # The number of steps is not compiled in: one program also for short blocks.
        return jax.lax.fori_loop(0, steps, body, state)

    trials, clips = sharding.state_axis, sharding.batch_axis
    mapped = functools.partial(
        distributed.pmapped, mesh=sharding.mesh, out_axes=trials, donate=(0,)
    )
    one_step = mapped(step, in_axes=(trials, clips))
    many_steps = mapped(block, in_axes=(trials, None, clips, clips, None))

    def train_steps(state: State, inputs: Batch | StepBlock) -> State:
        if isinstance(inputs, StepBlock):
            return many_steps(state, *inputs)
        return one_step(state, inputs)

    return train_steps


def device_step(
    probe: Probe,
    loss: LossFn,
    total_steps: int,
    settings: config.Optimizer,
    sharding: Sharding,
) -> Callable[[State, Batch], State]:
    """One step as a single device sees it: with its trials and its clips.

    The arguments are those of `make_train_steps`.
    """
    in_training = probe.clone(training=True)

    def loss_sum(params: Params, batch: Batch) -> Array:
        method = "frames" if batch.targets.ndim == 3 else None
        inputs = unpack(batch.packed)
        logits: Any = in_training.apply({"params": params}, inputs, method=method)
        # Time steps of all clips are examples in a row, as clips are.
        examples = (x.reshape(-1, x.shape[-1]) for x in (logits, batch.targets))
        return (loss(*examples) * batch.weight.reshape(-1)).sum()

    def update(
        params: Params, grads: Params, opt_state: Any, rate: Array, decay: Array
    ) -> tuple[Params, optax.OptState]:
        optimizer = optimizer_for(rate, decay, total_steps, settings)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def step(state: State, batch: Batch) -> State:
        grad = jax.vmap(jax.value_and_grad(loss_sum), in_axes=(0, None))
        sums = (*grad(state.params, batch), batch.weight.sum())
        losses, grads, count = sharding.sum_over_devices(sums)
        # The penalty depends on the parameters alone: it is not summed over devices.
        penalties = jax.vmap(jax.grad(probe.penalty))(state.params)
        grads = jax.tree.map(lambda g, p: g / count + p, grads, penalties)
        params, opt_state = jax.vmap(update)(
            state.params, grads, state.opt_state, state.rates, state.decays
        )
        return dataclasses.replace(
            state,
            params=params,
            opt_state=opt_state,
            loss_sum=state.loss_sum + losses,
            count=state.count + count,
        )

    return step


@_cached
def make_predict(probe: Probe, sharding: Sharding, *, framewise: bool) -> Predict:
    """Compiles `predict(params, packed)`, the logits of all trials on every device.

    Args:
        probe: The probe.
        sharding: The way in which the devices share the work.
        framewise: Whether logits are those of time steps, shape `[B, K, T, C]`, or
            those of clips, shape `[B, K, C]`.
    """
    method = "frames" if framewise else None

    def predict(params: Params, packed: Tokens | Summary) -> Array:
        inputs = unpack(packed)

        def one(trial: Params) -> Any:
            return probe.apply({"params": trial}, inputs, method=method)

        logits = jax.vmap(one, out_axes=1)(params)
        axis = 1 if sharding.splits_trials else 0
        return jax.lax.all_gather(logits, distributed.BATCH, axis=axis, tiled=True)

    in_axes = sharding.state_axis, sharding.batch_axis
    return distributed.pmapped(predict, sharding.mesh, in_axes=in_axes, out_axes=None)


@_cached
def make_keep_better(sharding: Sharding) -> Callable[[Params, Params, Any], Params]:
    """Compiles `keep_better(best, params, improved)`.

    It returns the new parameters of those trials where `improved`, shape `[K]`, is
    true, and the best ones so far of the others.
    """

    def keep_better(best: Params, params: Params, improved: Array) -> Params:
        return jax.tree.map(
            lambda b, p: jnp.where(improved.reshape(-1, *[1] * (p.ndim - 1)), p, b),
            best,
            params,
        )

    axis = sharding.state_axis
    return distributed.pmapped(
        keep_better, sharding.mesh, in_axes=(axis,) * 3, out_axes=axis
    )


def count_parameters(params: Params) -> int:
    """The number of trainable parameters of one trial of a stack."""
    return sum(leaf.size // len(leaf) for leaf in jax.tree.leaves(params))
