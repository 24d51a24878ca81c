"""Connects to a Ray cluster, and says what each task needs of its machines.

Ray is an optional dependency: this module imports it, and only when a command is run
with `--engine=ray`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import pathlib
import signal
import socket
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unmute_jax import distributed
from unmute_jax.errors import InputError, one_line

# The share of a GPU's memory that JAX takes where a task has a GPU of its own.
_GPU_SHARE = 0.9
# Seconds in which the head of a cluster must answer.
_ANSWERS_WITHIN = 10.0
# What Ray says if the head of a cluster refuses this process, and the usual remedy.
_REFUSED = "Failed to connect"
_TOKEN = (
    "if the cluster was started with RAY_AUTH_MODE=token, set that here, too; "
    "~/.ray/auth_token must be the same on all machines (`ray get-auth-token`)"
)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """The resources of one task.

    Attributes:
        cpus: The number of CPU cores.
        gpus: The number of GPUs; below 1, several tasks share one.
        others: The amounts of other resources, such as `{"TPU": 4}`.
        folder: The folder in which the driver runs, to which relative paths refer.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    others: Mapping[str, float] = field(default_factory=dict)
    folder: str = field(default_factory=os.getcwd)

    def options(self) -> dict[str, Any]:
        """Returns the options of `ray.remote` that reserve these resources."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "resources": dict(self.others),
        }

    def amounts(self) -> dict[str, float]:
        """Returns the amounts that are not 0, by the names that Ray uses."""
        named = {"CPU": self.cpus, "GPU": self.gpus, **self.others}
        return {name: amount for name, amount in named.items() if amount}

    def keep_to(self) -> None:
        """Limits this worker to the resources of its task.

        A task calls this before it uses JAX, which reads the limits when it first looks
        for devices.
        """
        # The threads of XLA on a CPU. Those of NumPy are limited by Ray.
        os.environ["PJRT_NPROC"] = str(max(1, math.floor(self.cpus)))
        if 0 < self.gpus < 1:
            fraction = f"{_GPU_SHARE * self.gpus:.3f}"
            os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = fraction
        distributed.set_memory_share(self.cpus / (os.cpu_count() or 1))
        if pathlib.Path(self.folder).is_dir():
            os.chdir(self.folder)


@contextlib.contextmanager
def connected(address: str = "") -> Generator[Any]:
    """Connects to a Ray cluster and leaves it at the end, which ends all tasks.

    Args:
        address: The address of the cluster: HOST:PORT; "auto" for one that runs on this
            machine; "local" for one that is started on this machine, and ends with
            this process; empty for the second if it exists, otherwise for the third.

    Yields:
        The module `ray`.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _import_ray()
    if "://" in address:
        raise InputError(
            f"--address={address}: Ray's client is not supported: run the command on a "
            "node of the cluster with --address=auto"
        )
    _check_reachable(ray, address)
    # Ray would handle SIGTERM in place of `signals`.
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            # JAX warns of forks, also of those that only start the programs of Ray.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was", RuntimeWarning)
            ray.init(
                address or None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        text = one_line(str(error), 300)
        # A refused token has no message of its own.
        if isinstance(error, ray.exceptions.AuthenticationError) or _REFUSED in text:
            text = f"{one_line(text, 80)}; {_TOKEN}"
        raise InputError(
            f"Ray can be neither reached nor started (--address={address}): {text}"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def node_here() -> str:
    """Returns Ray's identifier of the node on which this task runs."""
    return _import_ray().get_runtime_context().get_node_id()


def slots(ray: Any, needs: Needs) -> dict[str, int]:
    """Returns how many tasks each node can run at a time, by its identifier.

    Args:
        ray: The module, connected to a cluster.
        needs: The resources of one task.
    """
    wanted = needs.amounts()
    return {
        node["NodeID"]: math.floor(
            min(node["Resources"].get(name, 0) / n for name, n in wanted.items()) + 1e-9
        )
        for node in ray.nodes()
        if node["Alive"]
    }


def default_needs(ray: Any) -> Needs:
    """Returns what a task needs if the user does not say: one accelerator.

    That is one GPU where a node has some, all TPU chips of a host where a node has
    some, and otherwise one CPU core. With an accelerator comes its share of the cores.

    Args:
        ray: The module, connected to a cluster.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name in ("GPU", "TPU"):
        if having := [node for node in nodes if node.get(name, 0) >= 1]:
            tasks = [node[name] if name == "GPU" else 1 for node in having]
            cores = [n.get("CPU", 1) / k for n, k in zip(having, tasks, strict=True)]
            cpus = float(max(1, math.floor(min(cores))))
            if name == "GPU":
                return Needs(cpus=cpus, gpus=1.0)
            return Needs(cpus=cpus, others={name: min(n[name] for n in having)})
    return Needs()


def lacking(ray: Any, needs: Needs) -> str:
    """Says in one line that no node has what a task needs; empty if one has.

    Args:
        ray: The module, connected to a cluster.
        needs: The resources of one task.
    """
    if any(slots(ray, needs).values()):
        return ""
    text = ", ".join(f"{k} {amount:g}" for k, amount in needs.amounts().items())
    return f"no node of the Ray cluster has {text}: waiting until one joins"


def _check_reachable(ray: Any, address: str) -> None:
    """Refuses HOST:PORT where nothing listens; Ray would try for ten minutes."""
    if address in ("", "auto"):
        address = os.environ.get("RAY_ADDRESS", address)
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    if host in ("localhost", "127.0.0.1", "[::1]"):
        # As Ray does, whose nodes do not listen there.
        host = ray.util.get_node_ip_address()
        address = f"{host}:{port}"
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_WITHIN).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({one_line(str(error), 100)}): "
            "--address is HOST:PORT of its head, as `ray start --head` prints it"
        ) from error


def _import_ray() -> Any:
    # Ray would send statistics of its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--engine=ray needs Ray: pip install unmute-jax[ray]"
        ) from error
    return ray
