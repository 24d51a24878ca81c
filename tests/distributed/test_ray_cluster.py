"""What tasks need of a cluster, and what is said where there is none."""

import os
import socket
import subprocess
import sys

import pytest

from unmute_jax.distributed import ray_cluster
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.errors import InputError


class Cluster:
    """A cluster of nodes with some resources."""

    def __init__(self, *nodes):
        self._nodes = nodes

    def nodes(self):
        dead = {"NodeID": "", "Alive": False, "Resources": {"CPU": 512.0, "GPU": 16.0}}
        return [
            dead,
            *(
                {"NodeID": str(i), "Alive": True, "Resources": n}
                for i, n in enumerate(self._nodes)
            ),
        ]


@pytest.mark.parametrize(
    ("nodes", "amounts"),
    [
        ([{"CPU": 2.0}, {"CPU": 64.0}], {"CPU": 1.0}),
        # The smaller share of cores fits on both nodes.
        (
            [{"CPU": 32.0, "GPU": 4.0}, {"CPU": 12.0, "GPU": 2.0}, {"CPU": 2.0}],
            {"CPU": 6.0, "GPU": 1.0},
        ),
        (
            [{"CPU": 208.0, "TPU": 4.0}, {"CPU": 208.0, "TPU": 4.0}],
            {"CPU": 208.0, "TPU": 4.0},
        ),
    ],
)
def test_a_task_needs_one_accelerator_and_its_share_of_the_cores(nodes, amounts):
    cluster = Cluster(*nodes)
    needs = ray_cluster.default_needs(cluster)
    assert needs.amounts() == amounts
    assert ray_cluster.lacking(cluster, needs) == ""


def test_nodes_have_slots_for_what_their_scarcest_resource_allows():
    cluster = Cluster({"CPU": 8.0, "GPU": 1.0}, {"CPU": 3.0, "GPU": 4.0}, {"CPU": 9.0})
    needs = Needs(cpus=1.0, gpus=0.1)
    assert ray_cluster.slots(cluster, needs) == {"0": 8, "1": 3, "2": 0}


def test_what_no_node_has_is_one_line():
    cluster = Cluster({"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0})
    assert ray_cluster.lacking(cluster, Needs(cpus=2.0, gpus=0.5)) == ""
    wanted = Needs(cpus=4.0, gpus=1.0, others={"TPU": 4.0})
    assert "no node of the Ray cluster has CPU 4, GPU 1, TPU 4" in ray_cluster.lacking(
        cluster, wanted
    )


def test_a_worker_keeps_to_its_share_of_the_machine(tmp_path):
    """XLA has as many threads as the task has cores, and memory is shared."""
    code = (
        "import os; from unmute_jax import distributed; "
        "from unmute_jax.distributed.ray_cluster import Needs; "
        "Needs(cpus=1, gpus=0.25, folder=os.environ['FOLDER']).keep_to(); "
        "import jax, jax.numpy as jnp; jnp.ones(9).sum().block_until_ready(); "
        "threads = [open(f'/proc/self/task/{t}/comm').read().strip() "
        "for t in os.listdir('/proc/self/task')]; "
        "share = distributed.host_memory(); distributed.set_memory_share(1.0); "
        "print(sum('Eigen' in t for t in threads), "
        "round(share / distributed.host_memory() * os.cpu_count()), "
        "os.environ['XLA_PYTHON_CLIENT_MEM_FRACTION'], os.getcwd())"
    )
    environment = {**os.environ, "FOLDER": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.getcwd()
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert ended.stdout.split() == ["1", "1", "0.225", str(tmp_path)], ended.stderr


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("", 0))
        port = closed.getsockname()[1]
    # Ray replaces this by the address that others see.
    address = f"localhost:{port}"
    for given in (address, ""):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with (
            pytest.raises(
                InputError, match=rf"no Ray cluster answers at [\w.]+:{port}"
            ),
            ray_cluster.connected(given),
        ):
            pass


def test_a_refused_token_is_one_line_that_says_what_to_do(monkeypatch):
    ray = ray_cluster._import_ray()
    for error in (
        # The second is all that Ray says of a wrong token.
        ray.exceptions.AuthenticationError("Token authentication is enabled but"),
        ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379"),
    ):

        def init(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(ray, "init", init)
        with (
            pytest.raises(InputError, match="RAY_AUTH_MODE=token") as refused,
            ray_cluster.connected("local"),
        ):
            pass
        assert "~/.ray/auth_token must be the same on all" in str(refused.value)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(InputError, match=r"pip install unmute-jax\[ray\]"),
        ray_cluster.connected(),
    ):
        pass
