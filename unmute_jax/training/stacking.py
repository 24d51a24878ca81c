"""How many trials share a pass over the tokens."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from unmute_jax import config, parallel
from unmute_jax.probes import Probe
from unmute_jax.training import inputs as inp
from unmute_jax.training import trials

# Of the memory that is free; the rest is for what others start in the meantime.
SHARE = 0.6


def trials_at_once(
    probe: Probe,
    loss: trials.LossFn,
    clips: inp.Inputs,
    settings: config.Experiment,
    mesh: Mesh,
) -> int:
    """Trials whose step fits into what is free of the memory of all devices.

    One trial is compiled, which tells how much its step takes; part of that is shared
    by all trials of a stack, so that this is never too many.
    """
    need = bytes_per_trial(probe, loss, clips, settings)
    shares = mesh.size if jax.default_backend() == "cpu" else 1
    room = SHARE * parallel.free_memory() / shares
    return max(1, int(room / need)) * mesh.size


def bytes_per_trial(
    probe: Probe,
    loss: trials.LossFn,
    clips: inp.Inputs,
    settings: config.Experiment,
) -> int:
    """Memory of one trial: its state, and what a step of it needs besides."""
    one = inp.pack(clips.read(np.arange(1)))
    targets = clips.targets[:1].astype(np.float32)
    # Arrays that take no memory: their rows are one row.
    batch = jax.tree.map(
        lambda x: np.broadcast_to(x, (settings.batch_size, *x.shape[1:])),
        inp.Batch(one, targets, clips.weights[:1]),
    )
    trial = trials.Trial(learning_rate=1e-3, weight_decay=0.0, seed=0)
    example = jax.tree.map(jnp.asarray, inp.unpack(one))
    state = jax.eval_shape(
        lambda: trials.init_state(probe, example, (trial,), settings.optimizer)
    )
    step = trials.device_step(probe, loss, 1, settings.optimizer, spread=True)
    leaves, structure = jax.tree.flatten(batch)

    # Leaves, because what JAX makes of arguments on the way is no `Tokens`.
    def run(state: trials.State, leaves: list[Any]) -> trials.State:
        return step(state, jax.tree.unflatten(structure, leaves))

    compiled = jax.jit(run, donate_argnums=0).lower(state, leaves).compile()
    plan: Any = compiled.memory_analysis()
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    return held + plan.temp_size_in_bytes
