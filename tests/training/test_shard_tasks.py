"""What a node finds out before it computes shards, and what it reports."""

import dataclasses
import os

import pytest

from unmute_jax.config import DatasetOptions, Experiment
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.store.embed import begin
from unmute_jax.training import shard_tasks
from unmute_jax.training.setup import prepare
from unmute_jax.training.shard_tasks import ShardTask, compute


@pytest.fixture
def task(monkeypatch, tmp_path):
    """A task whose store exists, for a worker that shares this process."""
    monkeypatch.setattr(Needs, "keep_to", lambda self: None)
    monkeypatch.setattr(shard_tasks, "keep_compiled_programs", lambda: None)
    (tmp_path / "weights").write_text(str(tmp_path))
    settings = Experiment(
        dataset="esc_mix",
        dataset_options=DatasetOptions(
            train_clips=130, validation_clips=2, test_clips=2
        ),
        encoder="tests.training.fragile_encoder:Fragile",
        weights=str(tmp_path / "weights"),
        probes="linear",
        devices=1,
    )
    setup = prepare(settings)
    opened = begin(setup.encoder, setup.dataset, "train", root=tmp_path / "tokens")
    return ShardTask(
        settings=settings,
        kept=setup.kept[0],
        split="train",
        path=opened.writer.path,
        key=opened.writer.manifest["key"],
        shards=(0, 2),
        clips=64 + 2,
        needs=Needs(),
        patience=0.1,
    )


def patches(task):
    return sorted(int(p.name) for p in task.path.glob("patches/c/*"))


def test_the_shards_of_a_task_are_written_and_reported(task):
    reports = list(compute(task))
    assert patches(task) == [0, 2]
    assert sorted(shard for r in reports for shard in r.written) == [0, 2]
    assert reports[-1].left == 0
    assert not any(report.refusal or report.failure for report in reports)
    # What a lost task has written is not computed again by the one that replaces it.
    assert list(compute(task)) == []


def test_a_store_that_cannot_be_seen_is_refused_and_not_made(task, tmp_path):
    elsewhere = dataclasses.replace(task, path=tmp_path / "not here")
    (report,) = compute(elsewhere)
    assert report.refusal.startswith(f"node {os.uname().nodename}: files of other")
    assert "a folder that all nodes share" in report.refusal
    assert not elsewhere.path.exists()


def test_a_node_with_other_data_is_refused(task):
    other = dataclasses.replace(task, key=task.key | {"fingerprint": "other data"})
    (report,) = compute(other)
    assert "the tokens of esc_mix train would be others" in report.refusal
    assert 'fingerprint: "other data" -> ' in report.refusal
    assert patches(task) == []


def test_a_node_without_the_devices_is_refused(task):
    settings = dataclasses.replace(task.settings, devices=64)
    (report,) = compute(dataclasses.replace(task, settings=settings))
    assert report.refusal.startswith(f"node {os.uname().nodename}: ")
    assert "64" in report.refusal


def test_tokens_that_are_not_finite_are_the_fault_of_the_clip(task, tmp_path):
    (tmp_path / "nan").touch()
    *_, last = compute(task)
    assert "gives tokens that are not finite" in last.failure
    assert last.refusal == ""
    assert 1 not in patches(task)
