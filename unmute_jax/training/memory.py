"""Decides how much of the free memory clips and trials may take.

Clips come first, because every step reads them; trials get a share of what is free
once the clips are in their place. Every process gets the same answer, whatever memory
it has itself.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.console import size_text
from unmute_jax.errors import InputError

# Shares of the memory that is free at that time. The rest is left to other programs
# and to the batches that are read ahead.
CLIPS_SHARE = 0.5
TRIALS_SHARE = 0.6


def clips_fit_on_host(needed: int) -> bool:
    """Whether this process can keep `needed` bytes of clips in its own memory."""
    return needed < CLIPS_SHARE * distributed.host_memory()


def clips_fit_on_devices(needed: int | None, mesh: Mesh) -> bool:
    """Whether every device of `mesh`, of all processes, has room for the clips.

    Args:
        needed: Bytes of the clips; None if this process does not have them in memory.
        mesh: The devices.
    """
    if needed is None:
        fits = False
    elif jax.default_backend() == "cpu" and mesh.size == 1:
        # A single CPU device reads the host's memory, where the clips are already.
        fits = True
    else:
        fits = needed <= CLIPS_SHARE * _free_per_device(mesh)
    return bool(distributed.global_min(fits))


def check_batch(clips: int, one: Any, mesh: Mesh) -> None:
    """Refuses a batch that is larger than the free memory of all devices together.

    Args:
        clips: The number of clips in the batch.
        one: What is read of one clip, a tree of arrays.
        mesh: The devices.

    Raises:
        InputError: The batch is too large.
    """
    needed = clips * sum(x.nbytes for x in jax.tree.leaves(one))
    free = _free_per_device(mesh) * mesh.size
    if not distributed.global_min(needed <= free):
        raise InputError(
            f"a batch of {clips:,} clips takes {size_text(needed)}, and "
            f"{size_text(int(free))} of memory are free: lower config.batch_size"
        )


def check_trials(name: str, parameters: int, settings: Experiment) -> None:
    """Refuses a probe whose trials alone are larger than the free memory.

    Args:
        name: The name of the probe.
        parameters: The number of parameters of one trial.
        settings: The experiment's settings.

    Raises:
        InputError: The trials that are trained together do not fit.
    """
    count, what = settings.seeds, "config.seeds"
    rates = len(settings.optimizer.learning_rates)
    if settings.search == "rates" and rates > count:
        count, what = rates, "the number of config.optimizer.learning_rates"
    # A parameter and its two moments, in float32.
    needed, free = 12 * parameters * count, distributed.free_memory()
    if not distributed.global_min(needed <= free):
        raise InputError(
            f"probe {name!r}: {count} trials of {parameters:,} parameters take "
            f"{size_text(needed)}, and {size_text(free)} of memory are free: lower "
            f"config.probe_options or {what}"
        )


def trials_that_fit(bytes_per_trial: int, mesh: Mesh) -> int:
    """How many trials all devices of `mesh` together have room for, at least one each.

    Call it when the clips are in their place, so that their memory is not given away
    a second time.
    """
    room = TRIALS_SHARE * _free_per_device(mesh)
    return distributed.global_min(max(1, int(room / bytes_per_trial))) * mesh.size


def _free_per_device(mesh: Mesh) -> float:
    """Free bytes of each device; virtual CPU devices share the host's memory."""
    is_cpu = jax.default_backend() == "cpu"
    shares = distributed.local_mesh(mesh).size if is_cpu else 1
    return distributed.free_memory() / shares
