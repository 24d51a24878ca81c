"""Many trainings of one probe as one program: trials stacked along a leading axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from unmute_jax import config, parallel
from unmute_jax.probes import Probe
from unmute_jax.tokens import Summary, Tokens
from unmute_jax.training.adamw import adamw
from unmute_jax.training.inputs import Batch, unpack
from unmute_jax.training.schedules import learning_rate

Params = Any
LossFn = Callable[[Array, Array], Array]
Predict = Callable[[Params, Tokens | Summary], Array]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of one probe."""

    learning_rate: float
    weight_decay: float
    seed: int


@flax.struct.dataclass
class State:
    """`K` trials in training, every leaf with a leading axis of K (but the count).

    Attributes:
        params: Their parameters.
        opt_state: Their optimiser state; it counts the steps.
        loss_sum: `[K]`, the losses of this epoch's examples so far.
        count: The number of those examples: of clips, or of real time steps.
    """

    params: Params
    opt_state: optax.OptState
    # Checkpoints describe states by shapes alone, so these cannot be typed as arrays.
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
    zeros = jnp.zeros(len(trials), jnp.float32)
    return State(params, opt_state, zeros, jnp.zeros((), jnp.float32))


def make_step(
    probe: Probe,
    loss: LossFn,
    trials: tuple[Trial, ...],
    total_steps: int,
    settings: config.Optimizer,
    mesh: Mesh,
) -> Callable[[State, Batch], State]:
    """One step of all trials on one batch. The state given to it is donated."""
    step = device_step(probe, loss, trials, total_steps, settings)
    return parallel.pmapped(step, mesh, in_axes=(None, 0), out_axes=None, donate=(0,))


def device_step(
    probe: Probe,
    loss: LossFn,
    trials: tuple[Trial, ...],
    total_steps: int,
    settings: config.Optimizer,
) -> Callable[[State, Batch], State]:
    """The step as one device sees it: its rows of the batch, sums over all devices."""
    rates = jnp.asarray([t.learning_rate for t in trials], jnp.float32)
    decays = jnp.asarray([t.weight_decay for t in trials], jnp.float32)

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
        local = (*grad(state.params, batch), batch.weight.sum())
        losses, grads, count = jax.lax.psum(local, parallel.BATCH)
        # The penalty is of the parameters alone: the same on every device.
        penalties = jax.vmap(jax.grad(probe.penalty))(state.params)
        grads = jax.tree.map(lambda g, p: g / count + p, grads, penalties)
        params, opt_state = jax.vmap(update)(
            state.params, grads, state.opt_state, rates, decays
        )
        return State(params, opt_state, state.loss_sum + losses, state.count + count)

    return step


def make_predict(probe: Probe, mesh: Mesh, *, framewise: bool = False) -> Predict:
    """Logits of all trials for packed inputs, whole on every device.

    They are `[B, K, C]`, or `[B, K, T, C]` where `framewise`.
    """
    method = "frames" if framewise else None

    def predict(params: Params, packed: Tokens | Summary) -> Array:
        inputs = unpack(packed)

        def one(trial: Params) -> Any:
            return probe.apply({"params": trial}, inputs, method=method)

        logits = jax.vmap(one, out_axes=1)(params)
        return jax.lax.all_gather(logits, parallel.BATCH, tiled=True)

    return parallel.pmapped(predict, mesh, in_axes=(None, 0), out_axes=None)


def count_parameters(params: Params) -> int:
    """Trainable numbers of one trial of a stack."""
    return sum(leaf.size // len(leaf) for leaf in jax.tree.leaves(params))
