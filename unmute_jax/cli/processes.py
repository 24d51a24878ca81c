"""Runs a command as one program in several processes, on a TPU pod or a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from absl import flags

from unmute_jax import distributed
from unmute_jax.distributed import launch

T = TypeVar("T")
DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "auto",
    "How this process finds the others of its run: auto asks Slurm, Open MPI 4 or "
    "Cloud TPU; off runs one process; HOST:PORT,COUNT,INDEX gives the address of the "
    "first process, the number of processes and the index of this one.",
)


def joined() -> contextlib.AbstractContextManager[None]:
    """Runs what is inside together with the other processes of the run."""
    return launch.joined(DISTRIBUTED.value)


def writer_first(make: Callable[[], T]) -> T:
    """Calls `make` in the writing process first, and then in all others.

    The others then find what the first one has put on the shared disk, such as a
    download.
    """
    if distributed.is_writer():
        made = make()
        distributed.wait_for_all("the first process")
        return made
    distributed.wait_for_all("the first process")
    return make()
