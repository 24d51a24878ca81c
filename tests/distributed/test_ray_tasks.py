"""Tasks on the nodes of a cluster: lost ones start again, others end as they must."""

import logging
import os
import signal
import threading
import time

import pytest

from experiments.checks.ray_nodes import two_nodes
from unmute_jax.distributed import ray_cluster, signals
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.distributed.ray_tasks import run_tasks

# As a module of the package has it.
_log = logging.getLogger("unmute_jax.somewhere")


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray(cluster):
    with ray_cluster.connected(cluster.address) as ray:
        yield ray


def kinds(events):
    return [event.kind for event in events]


def count(folder, name):
    """Counts the calls that have this name."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / str(len(list((folder / name).iterdir())))).touch()
    return len(list((folder / name).iterdir()))


def work(task):
    """Yields twice; what happens in between is said by the task."""
    name, folder = task
    yield ray_cluster.node_here()
    calls = count(folder, name)
    if name.startswith("warns"):
        _log.warning("%d.5 %% of it is lost", len(name))
    if name == "raises":
        raise ValueError("its own fault\nand more")
    if name == "dies" or (name == "dies once" and calls == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    while name == "waits" and not (folder / "enough").exists():
        time.sleep(0.05)
    yield calls


def test_what_tasks_yield_streams_back_and_their_own_faults_are_not_retried(
    ray, tmp_path
):
    tasks = [(name, tmp_path) for name in ("warns", "raises", "warns, too")]
    events = list(run_tasks(ray, work, tasks, Needs(), 3))
    of = {name: [e for e in events if e.task[0] == name] for name, _ in tasks}
    # Once, as that of the other task has only other numbers.
    (warning,) = [event for event in events if event.kind == "warning"]
    assert warning.reason == f"{len(warning.task[0])}.5 % of it is lost"
    of[warning.task[0]].remove(warning)
    assert kinds(of["warns"]) == kinds(of["warns, too"]) == ["item", "item", "end"]
    assert kinds(of["raises"]) == ["item", "failed"]
    failed = of["raises"][-1]
    assert failed.reason == "ValueError: its own fault"
    assert "its own fault" in str(failed.error)
    assert len(list((tmp_path / "raises").iterdir())) == 1


def test_a_killed_worker_costs_its_task_alone_and_only_so_often(ray, tmp_path):
    tasks = [(name, tmp_path) for name in ("dies once", "dies", "a")]
    events = list(run_tasks(ray, work, tasks, Needs(), 1))
    of = {name: [e for e in events if e.task[0] == name] for name, _ in tasks}
    assert kinds(of["dies once"]) == ["item", "lost", "item", "item", "end"]
    assert of["dies once"][-2].value == 2
    assert kinds(of["dies"]) == ["item", "lost", "item", "gone"]
    assert "WorkerCrashedError" in of["dies"][-1].reason
    assert kinds(of["a"]) == ["item", "item", "end"]


def test_a_signal_stops_the_driver_and_is_named(ray, tmp_path):
    asked = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    handler = signal.getsignal(signal.SIGTERM)

    def run():
        for event in run_tasks(ray, work, [("waits", tmp_path)], Needs(), 0):
            assert event.kind == "item"
            asked.start()

    with pytest.raises(signals.Stopped, match="SIGTERM") as stopped:
        run()
    assert stopped.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_removed_node_costs_the_task_that_ran_on_it(cluster, ray, tmp_path):
    tasks = [("waits", tmp_path / name) for name in ("first", "second")]
    for _, folder in tasks:
        folder.mkdir()
    events = []
    for event in run_tasks(ray, work, tasks, Needs(), 3):
        events.append(event)
        if event.kind == "item" and event.value == cluster.second.node_id:
            cluster.remove_node(cluster.second)
            # What ran there goes on here, once the other task has ended.
            for _, folder in tasks:
                (folder / "enough").touch()
    assert kinds(events).count("lost") == 1
    assert kinds(events).count("end") == 2
    (lost,) = [event.task for event in events if event.kind == "lost"]
    assert "end" in kinds(event for event in events if event.task is lost)
