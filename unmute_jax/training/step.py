"""Many trainings of one probe as one program: trials stacked along a leading axis."""

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
from jax.sharding import Mesh
from jaxtyping import Array

from unmute_jax import config, distributed
from unmute_jax.probes import Probe
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training.batches import Batch, unpack
from unmute_jax.training.optimizer import adamw, learning_rate

Params = Any
Made = TypeVar("Made", bound=Callable)
LossFn = Callable[[Array, Array], Array]
Predict = Callable[[Params, Tokens | Summary], Array]


# A compiled function per set of arguments, so that stacks of one width compile once.
def _kept(make: Made) -> Made:
    return cast(Made, functools.lru_cache(maxsize=8)(make))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of one probe."""

    learning_rate: float
    weight_decay: float
    seed: int


@flax.struct.dataclass
class State:
    """`K` trials in training; every leaf has a leading axis of K.

    Attributes:
        params: Their parameters.
        opt_state: Their optimiser state; it counts the steps.
        rates: `[K]`, the learning rates at their top.
        decays: `[K]`, the weight decays.
        loss_sum: `[K]`, the losses of this epoch's examples so far.
        count: `[K]`, the number of those examples: of clips, or of real time steps.
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
    """AdamW with the learning rates of `schedules`, `rate` at the top.

    `rate` and `decay` may be traced, so that one program serves many trials.
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
    """The first state: initial values depend on each trial's seed alone."""

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


def place_state(state: State, mesh: Mesh, *, shard_trials: bool = False) -> State:
    """A state where `make_step` and `make_run` take it."""
    return (distributed.split_over_devices if shard_trials else distributed.replicate)(
        state, mesh
    )


@_kept
def make_step(
    probe: Probe,
    loss: LossFn,
    total_steps: int,
    settings: config.Optimizer,
    mesh: Mesh,
    *,
    shard_trials: bool = False,
) -> Callable[[State, Batch], State]:
    """One step of all trials on one batch. The state given to it is donated.

    Args:
        probe: The module.
        loss: From `losses.make_loss`.
        total_steps: Of the schedule.
        settings: Of the optimiser.
        mesh: The devices.
        shard_trials: Devices share out the trials, and each sees the whole batch; they
            have nothing to tell each other. Otherwise they share out the batch.
    """
    step = device_step(probe, loss, total_steps, settings, shard_trials=shard_trials)
    trials, clips = _axes(shard_trials)
    return distributed.pmapped(
        step, mesh, in_axes=(trials, clips), out_axes=trials, donate=(0,)
    )


@_kept
def make_run(
    probe: Probe,
    loss: LossFn,
    total_steps: int,
    settings: config.Optimizer,
    mesh: Mesh,
    *,
    shard_trials: bool = False,
) -> Callable[[State, Batch, Array, Array, Array], State]:
    """Many steps in one call, on clips that are on every device.

    It is `f(state, clips, *stretch)`, and the state is donated; arguments as of
    `make_step`.
    """
    step = device_step(probe, loss, total_steps, settings, shard_trials=shard_trials)

    def run(state: State, clips: Batch, rows: Array, real: Array, steps: Any) -> State:
        def body(i: Any, state: State) -> State:
            chosen, weight = rows[:, i], real[:, i]
            batch: Batch = jax.tree.map(
                lambda x: jnp.take(x, chosen, axis=0, mode="clip"), clips
            )
            shape = (-1, *[1] * (batch.weight.ndim - 1))
            scaled = batch.weight * weight.reshape(shape)
            return step(state, dataclasses.replace(batch, weight=scaled))

        # A loop of a length that is not compiled in: one program for short stretches.
        return jax.lax.fori_loop(0, steps, body, state)

    trials, clips = _axes(shard_trials)
    return distributed.pmapped(
        run,
        mesh,
        in_axes=(trials, None, clips, clips, None),
        out_axes=trials,
        donate=(0,),
    )


def _axes(shard_trials: bool) -> tuple[int | None, int | None]:
    """What is split over the devices: the trials, or the clips of a batch."""
    return (0, None) if shard_trials else (None, 0)


def device_step(
    probe: Probe,
    loss: LossFn,
    total_steps: int,
    settings: config.Optimizer,
    *,
    shard_trials: bool = False,
) -> Callable[[State, Batch], State]:
    """The step as one device sees it: its trials, or its rows of the batch.

    Where the batch is shared out, sums are over all devices.
    """
    in_training = probe.clone(training=True)

    def loss_sum(params: Params, batch: Batch) -> Array:
        method = "frames" if batch.targets.ndim == 3 else None
        inputs = unpack(batch.packed)
        logits: Any = in_training.apply({"params": params}, inputs, method=method)
        # Clips or time steps in a row.
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
        if not shard_trials:
            sums = jax.lax.psum(sums, distributed.BATCH)
        losses, grads, count = sums
        # The penalty is of the parameters alone: the same on every device.
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


@_kept
def make_predict(
    probe: Probe, mesh: Mesh, *, framewise: bool = False, shard_trials: bool = False
) -> Predict:
    """Logits of all trials for packed inputs, whole on every device.

    They are `[B, K, C]`, or `[B, K, T, C]` where `framewise`; `shard_trials` as of
    `make_step`.
    """
    method = "frames" if framewise else None

    def predict(params: Params, packed: Tokens | Summary) -> Array:
        inputs = unpack(packed)

        def one(trial: Params) -> Any:
            return probe.apply({"params": trial}, inputs, method=method)

        logits = jax.vmap(one, out_axes=1)(params)
        axis = 1 if shard_trials else 0
        return jax.lax.all_gather(logits, distributed.BATCH, axis=axis, tiled=True)

    return distributed.pmapped(
        predict, mesh, in_axes=_axes(shard_trials), out_axes=None
    )


def count_parameters(params: Params) -> int:
    """Trainable numbers of one trial of a stack."""
    return sum(leaf.size // len(leaf) for leaf in jax.tree.leaves(params))
