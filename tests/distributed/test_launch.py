"""How the processes of a run find each other, and what becomes of them."""

import shutil
import signal

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.distributed.process import CHANGES, run
from tests.training.fakes import make_setup, settings
from unmute_jax import distributed, results
from unmute_jax.distributed import launch
from unmute_jax.errors import InputError
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir

LAUNCHERS = (
    "SLURM_STEP_NUM_TASKS",
    "SLURM_NTASKS",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_MCA_orte_hnp_uri",
    "TPU_PROCESS_ADDRESSES",
    "TPU_WORKER_HOSTNAMES",
)


@pytest.fixture
def calls(monkeypatch):
    """The arguments of all calls of `jax.distributed.initialize`, which fails."""
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
def test_without_other_processes_nothing_is_joined(calls, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with launch.joined("auto"):
        assert distributed.is_alone()
        assert distributed.is_writer()
    assert calls == []


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_STEP_NUM_TASKS": "2"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"},
        {"TPU_WORKER_HOSTNAMES": "t0,t1"},
    ],
)
def test_a_launcher_of_several_is_joined_unless_it_is_off(
    calls, monkeypatch, environment
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with launch.joined("off"):
        assert calls == []
    with (
        pytest.raises(InputError, match=r"did not meet: nobody there; see --dist"),
        launch.joined("auto"),
    ):
        pass
    assert calls == [{"heartbeat_timeout_seconds": launch.PATIENCE}]


def test_an_open_mpi_that_jax_does_not_know_is_described_by_the_option(monkeypatch):
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match=r"did not meet: .*; see --distributed"),
        launch.joined("auto"),
    ):
        pass


def test_other_launchers_are_described_by_the_option(calls):
    with pytest.raises(InputError, match="meet"), launch.joined("node0:1234,4,3"):
        pass
    (arguments,) = calls
    assert arguments == {
        "coordinator_address": "node0:1234",
        "num_processes": 4,
        "process_id": 3,
        "heartbeat_timeout_seconds": launch.PATIENCE,
    }
    with launch.joined("node0:1234,1,0"):
        assert len(calls) == 1


@pytest.mark.parametrize("spec", ["on", "node0,2,1", "node0:1234,2", "node0:1,2,2"])
def test_a_wrong_option_says_what_is_right(calls, spec):
    with (
        pytest.raises(InputError, match="must be auto, off or HOST:PORT,COUNT,INDEX"),
        launch.joined(spec),
    ):
        pass


def test_an_error_is_reported_at_once(monkeypatch):
    slept, at_exit = [], []
    monkeypatch.setattr(launch.jax.distributed, "initialize", lambda **_: None)
    monkeypatch.setattr(launch.time, "sleep", slept.append)
    monkeypatch.setattr(launch.atexit, "register", lambda *call: at_exit.append(call))
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    def fail():
        with launch.joined("localhost:1,2,0"):
            raise error

    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        fail()
    assert not slept
    # Then the process exits, without JAX's farewell to the others.
    assert at_exit == [(launch._leave, error)]


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("UNMUTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNMUTE_TOKENS", "")


def params(folder):
    return {
        (file.name, name): x
        for file in sorted((folder / "probes").iterdir())
        for name, x in safetensors.numpy.load_file(file).items()
    }


def test_two_processes_stop_together_go_on_and_give_what_one_gives(
    own_cache, tmp_path, monkeypatch
):
    workdir = tmp_path / "both"
    # One of them is asked to stop: both save and end, and one says so.
    ended = run("train", workdir, extra=[(), (2, int(signal.SIGTERM))])
    assert [code for code, *_ in ended] == [143, 143], ended
    (_, first_errors), (_, second_errors) = (output for _, *output in ended)
    assert (
        "stopped by SIGTERM; the same command goes on from step 4 of protobin, "
        "official split, search x2" in first_errors
    )
    assert "stopped" not in second_errors

    # One process can go on from what two have saved, and so can two.
    one = shutil.copytree(workdir, tmp_path / "one")
    ended = run("train", workdir)
    assert [code for code, *_ in ended] == [0, 0], ended
    (_, first, _), (_, second, _) = ended
    assert "done" in first
    assert "done" not in second
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2 * CHANGES["epochs"]

    setup = make_setup(settings(**CHANGES))
    alone = run_experiment(setup, Workdir(tmp_path / "alone", setup.settings))
    (file,) = (workdir / "results").glob("*.json")
    record = results.read_record(file)
    assert record.validation == pytest.approx(alone[0].validation)
    assert record.facts["devices"].startswith("4 x")
    begun, global_max = [], distributed.global_max

    def noting(before, step, *values):
        begun.append(before)
        return global_max(before, step, *values)

    monkeypatch.setattr(distributed, "global_max", noting)
    run_experiment(setup, Workdir(one, setup.settings))
    assert begun[0] == 4
    theirs = params(tmp_path / "alone")
    for folder in (workdir, one):
        ours = params(folder)
        assert ours.keys() == theirs.keys()
        assert len(ours) >= 2
        for key, wanted in theirs.items():
            scale = np.abs(wanted).max()
            np.testing.assert_allclose(ours[key], wanted, rtol=0, atol=1e-5 * scale)


def test_a_lost_process_ends_the_others():
    (first, output, errors), (second, *_) = run("lose")
    assert second == -signal.SIGKILL
    # In JAX's own words, and by a code that launchers take for a failure.
    assert first not in (0, None)
    assert "went on alone" not in output
    assert "heartbeat" in errors
