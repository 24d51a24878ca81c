"""Starts a Ray cluster of two nodes on this machine, whose parts can be killed."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Mapping
from typing import Any
from unittest import mock

# A node with as little memory as Ray allows.
SMALL: Mapping[str, Any] = {
    "num_cpus": 1,
    "object_store_memory": 80 * 2**20,
    "node_ip_address": "127.0.0.1",
}
# Without this, Ray takes the address of loopback for that of another interface.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextlib.contextmanager
def two_nodes(cores: float = 1) -> Generator[Any]:
    """Starts two nodes on loopback.

    Args:
        cores: The number of cores of a node, whether the machine has them or not.

    Yields:
        The cluster: `address` is that of its first node and `second` is the other;
        `add_node(**SMALL)` returns a further node, and `remove_node` kills one.
    """
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    cluster: Any
    with (
        warnings.catch_warnings(),
        mock.patch.dict("os.environ", LOOPBACK),
        # Ray may have been imported before.
        mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False),
    ):
        # JAX warns of forks, also of those that start another program.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        # By default, Ray gives its workers the lowest priority.
        node = {**SMALL, "num_cpus": cores}
        first = {"_system_config": {"worker_niceness": 0}, **node}
        cluster = Cluster(initialize_head=True, head_node_args=first)
        try:
            cluster.second = cluster.add_node(**node)
            yield cluster
        finally:
            cluster.shutdown()
