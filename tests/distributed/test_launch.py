"""Which processes a run consists of, as launchers tell it."""

import pytest

from unmute_jax import distributed
from unmute_jax.distributed import launch
from unmute_jax.errors import InputError

LAUNCHERS = (
    "SLURM_STEP_NUM_TASKS",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_MCA_orte_hnp_uri",
    "TPU_PROCESS_ADDRESSES",
    "TPU_WORKER_HOSTNAMES",
)


@pytest.fixture
def asked(monkeypatch):
    """What `jax.distributed.initialize` was told: nothing, or its arguments."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    calls = []

    def initialize(**arguments):
        calls.append(arguments)
        raise RuntimeError("nobody there\nmore of that")

    monkeypatch.setattr(launch.jax.distributed, "initialize", initialize)
    return calls


@pytest.mark.parametrize(
    "environment",
    [
        {},
        # The script of a batch job, of which srun has started nothing.
        {"SLURM_NTASKS": "8"},
        {"SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"TPU_WORKER_HOSTNAMES": "localhost"},
        {"TPU_PROCESS_ADDRESSES": "local"},
    ],
)
def test_without_other_processes_nothing_is_joined(asked, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with launch.joined("auto"):
        assert distributed.is_alone()
        assert distributed.is_writer()
    assert asked == []


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_STEP_NUM_TASKS": "2"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"},
        {"TPU_WORKER_HOSTNAMES": "t0,t1"},
    ],
)
def test_a_launcher_of_several_is_joined_unless_told_off(
    asked, monkeypatch, environment
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with launch.joined("off"):
        assert asked == []
    with (
        pytest.raises(InputError, match=r"did not meet: nobody there$"),
        launch.joined("auto"),
    ):
        pass
    assert asked == [{"heartbeat_timeout_seconds": launch.PATIENCE}]


def test_other_launchers_are_told_in_one_option(asked):
    with pytest.raises(InputError, match="meet"), launch.joined("node0:1234,4,3"):
        pass
    (arguments,) = asked
    assert arguments == {
        "coordinator_address": "node0:1234",
        "num_processes": 4,
        "process_id": 3,
        "heartbeat_timeout_seconds": launch.PATIENCE,
    }
    with launch.joined("node0:1234,1,0"):
        assert len(asked) == 1


@pytest.mark.parametrize("spec", ["on", "node0,2,1", "node0:1234,2", "node0:1,2,2"])
def test_a_wrong_option_says_what_is_right(asked, spec):
    with (
        pytest.raises(InputError, match="must be auto, off or HOST:PORT,COUNT,INDEX"),
        launch.joined(spec),
    ):
        pass


def test_an_open_mpi_that_tells_no_address_is_told_one(asked, monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match=r"HOST:PORT,\$OMPI_COMM_WORLD_SIZE"),
        launch.joined("auto"),
    ):
        pass
