"""Grids on a real Ray cluster of two nodes, whose parts are killed."""

import collections
import random
import subprocess
import sys
import time
from unittest import mock

import pytest

from experiments.checks.grid import differing, disturbed, overhead, records, workers
from experiments.checks.ray_nodes import two_nodes
from tests.cli.commands import start_forked
from tests.grid import tiny_grid
from unmute_jax.distributed import ray_cluster
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.distributed.ray_tasks import Event
from unmute_jax.grid import on_ray
from unmute_jax.grid.cells import Grid
from unmute_jax.grid.folder import GridFolder
from unmute_jax.grid.remote_cell import News
from unmute_jax.grid.run_cell import Outcome

# Seconds for whatever must happen on a busy machine.
PATIENCE = 120


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cluster(cache):
    """Two nodes with caches of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNMUTE_CACHE", str(cache))
        with two_nodes() as cluster:
            yield cluster


@pytest.fixture(scope="module")
def ray(cluster):
    with ray_cluster.connected(cluster.address) as ray:
        yield ray


@pytest.fixture(scope="module")
def calm(cache, tmp_path_factory):
    """The records of a grid that one process has run."""
    folder = tmp_path_factory.mktemp("calm")
    (ended,) = start_forked([order(folder)], cache=cache)
    assert ended.returncode == 0, ended.stderr
    found = records(folder)
    assert len(found) == 6
    return found


def order(folder, *more):
    return ["grid", f"--config={tiny_grid.__file__}", f"--workdir={folder}/run", *more]


def cells(**values):
    config = tiny_grid.get_config()
    for key, value in values.items():
        config[key] = value
    return Grid.from_dict(config.to_dict()).cells()


def work(chosen, folder, ray, log=lambda line: None):
    grid = GridFolder(str(folder / "run"))
    return on_ray.work(chosen, grid, ray, Needs(), max_retries=3, log=log)


def states(chosen, folder):
    known = GridFolder(str(folder / "run")).look(chosen)
    return [known[cell.folder].state for cell in chosen]


def test_killed_workers_nodes_and_drivers_change_no_record(
    cluster, cache, calm, tmp_path
):
    victims = collections.deque(["worker", "node", "driver"])
    (tmp_path / "cache").symlink_to(cache)
    killed = disturbed(
        cluster, order(tmp_path)[1:2], tmp_path, victims, random.Random(0), 1.0
    )
    assert sum(killed.values()) == 3
    assert states(cells(), tmp_path) == ["done"] * 6
    assert differing(calm, records(tmp_path)) == []


def test_ctrl_c_ends_all_tasks_and_leaves_a_grid_that_goes_on(
    ray, cache, calm, tmp_path
):
    chosen, logged = cells(), []

    def stop(line):
        logged.append(line)
        if line.endswith(": done"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(chosen, tmp_path, ray, stop)
    assert sorted(set(states(chosen, tmp_path))) == ["done", "open"]
    end = time.monotonic() + PATIENCE
    while workers(cache):
        assert time.monotonic() < end, "somebody goes on working for it"
        time.sleep(0.1)
    assert work(chosen, tmp_path, ray) == []
    assert differing(calm, records(tmp_path)) == []


def test_a_cell_that_fails_by_its_own_fault_is_not_started_again(ray, tmp_path):
    encoder, logged = "tests.grid.raising_encoder:Raising", []
    chosen = cells(encoders=encoder, probes="linear")
    failed = work(chosen, tmp_path, ray, logged.append)
    assert failed == [chosen[0].name]
    (found,) = GridFolder(str(tmp_path / "run")).look(chosen).values()
    assert found.state == "failed"
    assert "its own fault" in found.message
    assert len([line for line in logged if ": on " in line]) == 1


def test_the_measure_of_the_overhead_runs(ray):
    loop, on_nodes = overhead(ray, 8, 0.25)
    assert loop >= 8 * 0.25
    # Two at a time.
    assert on_nodes >= 4 * 0.25


class Scripted:
    """Takes the place of the tasks of a cluster; what happens to them is given."""

    def __init__(self, *script):
        self.nodes, self.tasks, self._running = [], [], 0
        self._script = list(script)

    def __call__(self, ray, function, needs):
        return self

    def __len__(self):
        return self._running

    def start(self, task, node):
        self.tasks.append(task)
        self.nodes.append(node)
        self._running += 1

    def next_event(self, timeout):
        number, kind, value = self._script.pop(0)
        self._running -= kind != "item"
        return Event(self.tasks[number], kind, value, "the node died")

    def cancel(self):
        pass


@pytest.fixture
def scripted(monkeypatch, tmp_path):
    """Runs cells on two nodes, to which given things happen."""

    def run(chosen, *script):
        tasks, ray = Scripted(*script), mock.MagicMock()
        ray.wait.return_value = [], []
        monkeypatch.setattr(on_ray, "RunningTasks", tasks)
        monkeypatch.setattr(on_ray, "slots", lambda ray, needs: {"a": 1, "b": 1})
        assert work(chosen, tmp_path, ray) == []
        assert states(chosen, tmp_path) == ["done"] * len(chosen)
        return tasks

    return run


def done(node):
    return News(node, "there", outcome=Outcome("done"))


def test_a_node_that_is_lost_after_the_outcome_costs_nothing(scripted):
    tasks = scripted(cells(probes="linear"), (0, "item", done("a")), (0, "lost", None))
    assert len(tasks.nodes) == 1


def test_what_a_lost_node_has_sent_goes_to_the_next_one(scripted):
    trial = {"trials/first.json": b"{}"}
    tasks = scripted(
        cells(probes="linear"),
        *((0, "item", News("a", "there", files=trial)), (0, "lost", None)),
        *((1, "item", done("b")), (1, "end", None)),
    )
    assert [task.files for task in tasks.tasks] == [{}, trial]


def test_no_cell_waits_for_a_node_while_another_has_room(scripted):
    tasks = scripted(
        cells(probes="linear,mlp,knn,stats"),
        *((0, "item", done("a")), (1, "item", done("b"))),
        # The third is sent to the tokens; until it reports, their node counts as taken.
        *((0, "end", None), (1, "end", None)),
        *((2, "item", done("a")), (2, "end", None)),
        *((3, "item", done("b")), (3, "end", None)),
    )
    assert tasks.nodes == ["", "", "a", ""]


def test_cells_that_share_tokens_go_to_the_same_node_first():
    chosen = cells(
        encoders="logmel,eat", datasets="esc_mix,esc10", probes="linear,mhca"
    )
    pairs = list(dict.fromkeys(cell.pair for cell in chosen))

    def following(homes, free, started):
        return on_ray.next_cell(chosen, homes, free, started).pair

    assert following({}, {"a", "b"}, set()) == pairs[0]
    # Nodes begin with different tokens.
    assert following({}, {"b"}, {pairs[0]}) == pairs[1]
    # A node has them, and room.
    homes = {pairs[0]: "a", pairs[1]: "b"}
    assert following(homes, {"b"}, set(homes)) == pairs[1]
    assert following(homes, {"a", "b"}, set(homes)) == pairs[0]
    # Another one has room: it computes what nobody has, and helps at the end.
    assert following(homes, {"c"}, set(homes)) == pairs[2]
    assert following(homes, {"c"}, set(pairs)) == pairs[0]


def test_nothing_of_ray_is_imported_without_its_engine(tmp_path):
    code = (
        "import sys; from unmute_jax.cli import main; "
        f"sys.argv = ['unmute', *{order(tmp_path, '--status')!r}]; main.main(); "
        "print([name for name in sys.modules if name.split('.')[0] == 'ray'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"
