"""Runs a command as one program in several processes, on a TPU pod or a cluster."""

from __future__ import annotations

import contextlib

from absl import flags

DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "auto",
    "How this process finds the others of its run: auto asks Slurm, Open MPI 4 or "
    "Cloud TPU; off runs one process; HOST:PORT,COUNT,INDEX gives the address of the "
    "first process, the number of processes and the index of this one.",
)


def joined() -> contextlib.AbstractContextManager[None]:
    """Runs what is inside together with the other processes of the run."""
    from unmute_jax.distributed import launch

    return launch.joined(DISTRIBUTED.value)
