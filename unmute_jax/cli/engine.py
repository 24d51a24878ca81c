"""The options of commands whose work can be spread over the machines of a cluster."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from absl import flags

from unmute_jax.console import say
from unmute_jax.errors import InputError

if TYPE_CHECKING:
    from unmute_jax.distributed.ray_cluster import Needs

ENGINE = flags.DEFINE_enum(
    "engine",
    "local",
    ["local", "ray"],
    "Where the work is done: local does it in this process; ray spreads it over the "
    "nodes of a Ray cluster (pip install unmute-jax[ray]).",
)
ADDRESS = flags.DEFINE_string(
    "address",
    "",
    "With --engine=ray: the address of the cluster, HOST:PORT, or auto for the one "
    "that runs on this machine. By default that one if it exists; otherwise Ray is "
    "started on this machine and ends with the command.",
)
CPUS = flags.DEFINE_float(
    "cpus",
    None,
    "With --engine=ray: the number of CPU cores of a task. By default one, and with an "
    "accelerator its share of the cores of the node.",
    lower_bound=1.0,
)
GPUS = flags.DEFINE_float(
    "gpus",
    None,
    "With --engine=ray: the number of GPUs of a task; below 1, several tasks share "
    "one. By default 1 if the cluster has GPUs.",
    lower_bound=0.0,
)
RESOURCES = flags.DEFINE_list(
    "resources",
    None,
    "With --engine=ray: amounts of other resources of a task, such as TPU=4 for a host "
    "of a TPU. By default all TPU chips of a host if the cluster has no GPUs but TPUs.",
)
MAX_RETRIES = flags.DEFINE_integer(
    "max_retries",
    3,
    "With --engine=ray: how many times a task is started again after its machine or "
    "process was lost. A task that fails by its own fault is not.",
    lower_bound=0,
)


def is_local() -> bool:
    """Whether this process does the work itself.

    Raises:
        InputError: An option was given that only another engine reads.
    """
    if ENGINE.value != "local":
        return False
    for flag in (ADDRESS, CPUS, GPUS, RESOURCES, MAX_RETRIES):
        if flag.present:
            raise InputError(f"--{flag.name} needs --engine=ray")
    return True


def needs(ray: Any) -> Needs:
    """Returns the resources of a task, as the options say or by default.

    Says so if no node of the cluster has them.

    Args:
        ray: The module, connected to a cluster.

    Raises:
        InputError: `--resources` is not written NAME=AMOUNT.
    """
    from unmute_jax.distributed import ray_cluster

    found = ray_cluster.default_needs(ray)
    if GPUS.present or RESOURCES.present:
        # What is asked for takes the place of all accelerators that were found.
        found = dataclasses.replace(found, gpus=0.0, others={})
    given: dict[str, Any] = {}
    if CPUS.value is not None:
        given["cpus"] = CPUS.value
    if GPUS.value is not None:
        given["gpus"] = GPUS.value
    if RESOURCES.value is not None:
        given["others"] = dict(_amount(text) for text in RESOURCES.value)
    found = dataclasses.replace(found, **given)
    if note := ray_cluster.lacking(ray, found):
        say(note)
    return found


def _amount(text: str) -> tuple[str, float]:
    """Returns `("TPU", 4.0)` for "TPU=4"."""
    name, _, amount = text.partition("=")
    try:
        value = float(amount)
    except ValueError:
        value = -1.0
    if not name or name in ("CPU", "GPU") or not 0 < value < float("inf"):
        raise InputError(
            f"--resources={text}: must be NAME=AMOUNT, such as TPU=4; cores and GPUs "
            "are set by --cpus and --gpus"
        )
    return name, value
