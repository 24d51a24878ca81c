"""Tokens from the nodes of a cluster are those of one process, whatever is lost."""

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments.checks.ray_nodes import two_nodes
from unmute_jax import distributed
from unmute_jax.config import DatasetOptions, Experiment, TokenOptions
from unmute_jax.distributed import collectives, ray_cluster
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.distributed.ray_tasks import Event
from unmute_jax.errors import InputError
from unmute_jax.training import embed_on_ray
from unmute_jax.training.run import embed_all
from unmute_jax.training.setup import prepare
from unmute_jax.training.shard_tasks import Report

# On CPUs, sums are rounded differently with another number of threads: a task has as
# many as JAX has here, with two virtual devices.
CORES = float(max(2, len(os.sched_getaffinity(0))))
CLIPS = {"train": 130, "validation": 2, "test": 2}


@pytest.fixture(scope="module")
def cluster():
    with two_nodes(CORES) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ray(cluster):
    with ray_cluster.connected(cluster.address) as ray:
        yield ray


def setup_of(**changes):
    options = DatasetOptions(**{f"{split}_clips": n for split, n in CLIPS.items()})
    settings = {"dataset": "esc_mix", "probes": "linear", "devices": 1} | changes
    return prepare(Experiment(dataset_options=options, **settings))


def store_files(stores):
    """All files of some stores, byte for byte, by split and name."""
    return {
        (split, str(file.relative_to(store.path))): file.read_bytes()
        for split, store in stores.items()
        for file in store.path.rglob("*")
        if file.is_file() and file.suffix != ".__lock"
    }


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Embeds in this process, for comparison, and then names another place."""

    def embed(setup):
        monkeypatch.setenv("UNMUTE_TOKENS", str(tmp_path / "here"))
        stores = embed_all(setup, setup.kept[0], CLIPS, distributed.make_mesh(1))
        monkeypatch.setenv("UNMUTE_TOKENS", str(tmp_path / "there"))
        return store_files(stores)

    return embed


@pytest.fixture
def fragile(tmp_path):
    """An experiment whose encoder obeys files in the folder of the test."""
    (tmp_path / "weights").write_text(str(tmp_path))
    return setup_of(
        encoder="tests.training.fragile_encoder:Fragile",
        weights=str(tmp_path / "weights"),
    )


def on_nodes(setup, ray, **options):
    lines = []
    (stores,) = embed_on_ray.embed_on_ray(
        setup, ray, Needs(cpus=CORES), log=lines.append, **options
    )
    return stores, lines


@pytest.mark.parametrize("lengths", [1, 2])
def test_tokens_are_those_of_one_process_bit_for_bit(ray, here, lengths):
    setup = setup_of(encoder="logmel", tokens=TokenOptions(lengths=lengths))
    wanted = here(setup)
    stores, _ = on_nodes(setup, ray)
    assert {split: store.n for split, store in stores.items()} == CLIPS
    assert store_files(stores) == wanted
    # The second time they are read.
    again, lines = on_nodes(setup, ray)
    assert sum("read from" in line for line in lines) == len(CLIPS)
    assert store_files(again) == wanted


def test_a_killed_worker_costs_nothing_but_time_and_warnings_are_printed_once(
    ray, here, fragile, tmp_path
):
    (tmp_path / "large").touch()
    wanted = here(fragile)
    (tmp_path / "kill").touch()
    stores, lines = on_nodes(fragile, ray)
    assert sum("was lost and is started again" in line for line in lines) == 1
    assert sum("of what tells clips apart" in line for line in lines) == 1
    assert store_files(stores) == wanted


def test_a_worker_that_is_lost_too_often_fails_and_the_command_goes_on_later(
    ray, here, fragile, tmp_path
):
    wanted = here(fragile)
    (tmp_path / "kill").touch()
    with pytest.raises(InputError, match="1 of 3 tasks failed") as failed:
        on_nodes(fragile, ray, max_retries=0)
    assert "the same command" in str(failed.value)
    stores, _ = on_nodes(fragile, ray)
    assert store_files(stores) == wanted


def test_a_clip_without_finite_tokens_is_one_line_and_is_not_retried(
    ray, here, fragile, tmp_path
):
    wanted = here(fragile)
    (tmp_path / "nan").touch()
    lines = []
    with pytest.raises(InputError, match="1 of 3 tasks failed"):
        embed_on_ray.embed_on_ray(fragile, ray, Needs(cpus=CORES), log=lines.append)
    (line,) = [line for line in lines if "has failed" in line]
    assert f"node {os.uname().nodename}: clip '" in line
    assert "not finite" in line
    # What the others have written stays as it is.
    written = {
        p: p.stat().st_mtime_ns for p in tmp_path.glob("there/*/patches/c/*/0/*")
    }
    stores, _ = on_nodes(fragile, ray)
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert store_files(stores) == wanted


def test_ctrl_c_ends_the_command_and_its_work_goes_on_later(
    cluster, ray, here, fragile, tmp_path
):
    wanted = here(fragile)
    (tmp_path / "wait").touch()
    command = subprocess.Popen(
        [
            *(sys.executable, "-m", "unmute_jax.cli.main", "embed"),
            *("--config=quickstart", f"--config.encoder={fragile.settings.encoder}"),
            f"--config.weights={fragile.settings.weights}",
            *(f"--config.dataset_options.{s}_clips={n}" for s, n in CLIPS.items()),
            *("--engine=ray", f"--address={cluster.address}", f"--cpus={CORES}"),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    end = time.monotonic() + 120
    while not (tmp_path / "waits").exists():
        assert command.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=120)
    assert command.returncode == 130
    assert "stopped by SIGINT; the same command goes on from here" in errors
    (tmp_path / "wait").unlink()
    stores, _ = on_nodes(fragile, ray)
    assert store_files(stores) == wanted


def test_nodes_that_cannot_see_the_store_are_refused(ray, monkeypatch):
    monkeypatch.setenv("UNMUTE_TOKENS", "memory://of this process")
    monkeypatch.setattr(collectives, "VISIBLE_WITHIN", 0.1)
    with pytest.raises(InputError, match="a folder that all nodes share") as refused:
        on_nodes(setup_of(encoder="logmel"), ray)
    assert str(refused.value).startswith(f"node {os.uname().nodename}: ")


def test_a_node_with_a_store_of_its_own_at_the_same_place_is_refused(
    monkeypatch, tmp_path
):
    """A node may have a disk of its own there, with the same store from earlier."""
    monkeypatch.setenv("UNMUTE_TOKENS", str(tmp_path))
    monkeypatch.setattr(collectives, "VISIBLE_WITHIN", 0.1)
    monkeypatch.setattr(embed_on_ray, "slots", lambda ray, needs: {"a": 2})

    def lie(ray, function, tasks, needs, max_retries):
        yield Event(tasks[0], "item", Report(0, (tasks[0].shards[0],)))

    monkeypatch.setattr(embed_on_ray, "run_tasks", lie)
    with pytest.raises(InputError, match=r"shard 0 of .* was written on another"):
        on_nodes(setup_of(encoder="logmel"), None)


@pytest.mark.parametrize(
    ("shards", "at_once", "together", "size"),
    [
        # All nodes are busy, and no batch is computed twice.
        (16, 4, 1, 4),
        (3, 8, 1, 1),
        (16, 16, 4, 4),
        (16, 16, 25, 1),
        # Tasks have enough shards to be worth a start, and nodes more than one task.
        (64, 4, 1, 8),
        (1024, 8, 1, 32),
        (0, 8, 1, 1),
    ],
)
def test_tasks_keep_all_nodes_busy_and_are_worth_a_start(
    shards, at_once, together, size
):
    assert embed_on_ray.task_size(shards, at_once, together) == size
