"""Programs that run in many processes at once: on a TPU pod, on a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from absl import flags

from unmute_jax import distributed
from unmute_jax.config import Experiment
from unmute_jax.distributed import launch

T = TypeVar("T")
DISTRIBUTED = flags.DEFINE_string(
    "distributed",
    "auto",
    "Other processes of this run: auto, as Slurm, Open MPI 4 or Cloud TPU say; off; or "
    "HOST:PORT,COUNT,INDEX, where the first one listens, how many, and which this is.",
)


def together(main: Callable[[Experiment], None]) -> Callable[[Experiment], None]:
    """`main` in step with the other processes of this run, where there are any."""

    @functools.wraps(main)
    def in_step(settings: Experiment) -> None:
        with launch.joined(DISTRIBUTED.value):
            main(settings)

    return in_step


def writer_first(make: Callable[[], T]) -> T:
    """`make` in one process, then in all others.

    What they share, such as a download, is made once and found by the others.
    """
    if distributed.is_writer():
        made = make()
        distributed.wait_for_all("the first process")
        return made
    distributed.wait_for_all("the first process")
    return make()
