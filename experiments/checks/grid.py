"""Kills parts of a grid on Ray at random moments and shows that nothing is lost.

python -m experiments.checks.grid --config configs/paper.py --kills=10 \
    --config.encoders=logmel --config.datasets=esc_mix --config.probes=linear,protobin
python -m experiments.checks.grid --overhead=100

One process runs the grid once without any disturbance. Then it is run on Ray, on two
nodes of one core each on this machine, in rounds, each from the clips to the end.
Processes of tasks, whole nodes and the driver are killed with SIGKILL, and nodes and
drivers are started again, until there were enough kills. Every round must leave the
same records, except for times and for where they were made. All options of the grid are
passed on.

With --overhead, so many cells that only wait for a second are run one after the other
in this process, and on Ray.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from typing import Any
from unittest import mock

from absl import flags

from experiments.checks import killable
from experiments.checks.killable import KILLS, RANDOM_SEED, Killable
from experiments.checks.ray_nodes import SMALL, two_nodes
from unmute_jax.cli import program
from unmute_jax.distributed import ray_cluster
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.errors import InputError
from unmute_jax.grid import local, on_ray
from unmute_jax.grid.cells import Cell, Grid, default_grid
from unmute_jax.grid.folder import GridFolder
from unmute_jax.grid.remote_cell import News, RemoteCell
from unmute_jax.grid.run_cell import Outcome
from unmute_jax.io import CACHE_VARIABLE
from unmute_jax.results.record import DIGEST, MEASURED

OVERHEAD = flags.DEFINE_integer(
    "overhead",
    None,
    "The number of cells whose overhead is measured, in place of all kills.",
    lower_bound=1,
)

# What a driver prints when a node has begun to work on a cell.
BEGINS = b": on "
VICTIMS = ("worker", "node", "driver")
# Fields of records that describe time and place and not the outcome.
ELSEWHERE = (*MEASURED, DIGEST, "versions", "devices")


def main(chosen: Grid) -> None:
    """Runs the rounds, prints a table, and exits with code 1 if anything differs."""
    own = ("--kills", "--random_seed", "--workdir")
    passed_on = [a for a in sys.argv[1:] if not a.startswith(own)]
    draw = random.Random(RANDOM_SEED.value)
    # In turn, so that none is left out; only the moments are random.
    left = collections.deque[str]((VICTIMS * KILLS.value)[: KILLS.value])
    cluster: Any
    with tempfile.TemporaryDirectory() as name:
        calm = pathlib.Path(name, "calm")
        start = Killable("grid", [*passed_on, f"--workdir={calm}/run"], calm / "cache")
        _, length = killable.run(lambda: start)
        wanted = records(calm)
        if len(wanted) < len(chosen.cells()):
            raise InputError(f"the undisturbed grid left {len(wanted)} records")
        print(f"undisturbed: {length:.0f} s, {len(wanted)} records", flush=True)
        print("| round | kills | records | different |\n|---|---|---|---|")
        different = list[str]()
        for number in itertools.count(1):
            folder = pathlib.Path(name, f"round {number}")
            killable.share_caches(
                calm / "cache", folder / "cache", ("datasets", "compiled")
            )
            of_nodes = {CACHE_VARIABLE: str((folder / "cache").resolve())}
            with mock.patch.dict("os.environ", of_nodes), two_nodes() as cluster:
                killed = disturbed(cluster, passed_on, folder, left, draw, length / 4)
            found = records(folder)
            new = differing(wanted, found)
            kills = ", ".join(f"{n} {what}" for what, n in killed.items())
            print(f"| {number} | {kills} | {len(found)} | {len(new)} |", flush=True)
            different += [f"{record} in round {number}" for record in new]
            if not left:
                break
    for record in different:
        print(f"different: {record}")
    if different:
        sys.exit(1)


def disturbed(
    cluster: Any,
    arguments: list[str],
    folder: pathlib.Path,
    victims: collections.deque[str],
    draw: random.Random,
    within: float,
) -> dict[str, int]:
    """Runs the grid on Ray to its end, through kills.

    Args:
        cluster: The cluster, whose nodes have the caches of the folder.
        arguments: Options of the grid.
        folder: The folder of the grid, and of all caches.
        victims: What is to be killed; those that were are removed.
        draw: The generator of random moments.
        within: The most seconds between two kills.

    Returns:
        The number of kills by what was killed.
    """
    cache, killed = (folder / "cache").resolve(), collections.Counter[str]()
    options = ["--engine=ray", f"--address={cluster.address}", "--max_retries=99"]
    options += [*arguments, f"--workdir={folder / 'run'}"]

    def start() -> Killable:
        return Killable("grid", options, cache, start_marker=BEGINS)

    driver, moment = start(), float("inf")
    try:
        while not driver.is_over():
            time.sleep(killable.POLL_INTERVAL)
            if moment == float("inf") and victims and driver.has_begun():
                moment = time.monotonic() + draw.uniform(0, within)
            if time.monotonic() < moment:
                continue
            moment = float("inf")
            if victims[0] == "driver":
                driver.kill()
                driver = start()
            elif victims[0] == "node":
                cluster.remove_node(cluster.second, allow_graceful=False)
                cluster.second = cluster.add_node(**SMALL)
            elif found := workers(cache):
                os.kill(draw.choice(found), signal.SIGKILL)
            else:
                continue  # None is at work just now.
            killed[victims.popleft()] += 1
    finally:
        driver.kill()
    return killed


def workers(cache: pathlib.Path) -> list[int]:
    """Finds the processes that run cells, by the name that Ray gives them.

    Args:
        cache: Folder of their caches, which tells them from those of other clusters.
    """
    found, ours = list[int](), f"{CACHE_VARIABLE}={cache}".encode()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            is_task = (process / "cmdline").read_bytes().startswith(b"ray::run_remote")
            if is_task and ours in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # It has ended meanwhile.
            continue
    return found


def records(folder: pathlib.Path) -> dict[str, Any]:
    """The outcomes that a grid has written, by the name of the file."""
    root = folder / "run/cells"
    found = {}
    for room in ("results", "trials"):
        for path in sorted(root.glob(f"*/{room}/*.json")):
            values = json.loads(path.read_text(encoding="utf-8"))
            found[path.relative_to(root).as_posix()] = _outcome(values)
    return found


def differing(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Names of the records that differ or are missing on one side."""
    names = sorted(wanted.keys() | found.keys())
    return [name for name in names if wanted.get(name) != found.get(name)]


def _outcome(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _outcome(v) for k, v in value.items() if k not in ELSEWHERE}
    return [_outcome(v) for v in value] if isinstance(value, list) else value


def overhead(ray: Any, count: int, seconds: float) -> tuple[float, float]:
    """Measures how long cells take that only wait.

    Args:
        ray: The module, connected to a cluster.
        count: Number of cells.
        seconds: Seconds that each of them waits.

    Returns:
        The seconds of all cells in the plain loop, and on Ray.
    """
    (cell,) = Grid.from_dict({**default_grid().to_dict(), "probes": "knn"}).cells()
    cells = [dataclasses.replace(cell, name=f"cell-{i}") for i in range(count)]

    def wait(*arguments: Any) -> Outcome:
        time.sleep(seconds)
        return Outcome("done")

    def wait_on_node(task: RemoteCell) -> Generator[News]:
        node = ray_cluster.node_here()
        yield News(node, "here")
        time.sleep(seconds)
        yield News(node, "here", outcome=Outcome("done"))

    with tempfile.TemporaryDirectory() as name:
        here, there = GridFolder(f"{name}/loop"), GridFolder(f"{name}/ray")
        moments = [time.monotonic()]
        with mock.patch.object(local, "run_cell", wait):
            local.work(cells, here, log=_silent)
        moments.append(time.monotonic())
        with mock.patch.object(on_ray, "run_remote_cell", wait_on_node):
            on_ray.work(cells, there, ray, Needs(), max_retries=0, log=_silent)
        moments.append(time.monotonic())
        for folder in (here, there):
            _check_all_done(cells, folder)
    return moments[1] - moments[0], moments[2] - moments[1]


def _print_overhead(count: int) -> None:
    begin = time.monotonic()
    cluster: Any
    with two_nodes() as cluster, ray_cluster.connected(cluster.address) as ray:
        print(f"start of Ray with two nodes: {time.monotonic() - begin:.1f} s")
        loop, on_nodes = overhead(ray, count, 1.0)
        print(f"{count} cells of one second in a plain loop: {loop:.1f} s")
        print(f"the same on Ray, two at a time: {on_nodes:.1f} s")


def _check_all_done(cells: list[Cell], folder: GridFolder) -> None:
    states = {status.state for status in folder.look(cells).values()}
    if states != {"done"}:
        raise InputError(f"cells that only wait ended as {', '.join(sorted(states))}")


def _silent(line: str) -> None:
    pass


if __name__ == "__main__":
    with program.command(__doc__, default_grid()) as arguments:
        program.only_options(arguments)
        if OVERHEAD.value is not None:
            _print_overhead(OVERHEAD.value)
        else:
            main(Grid.from_dict(program.config_values()))
