"""Cells that run in a folder of their own and send what they write."""

import os

import pytest

from tests.grid.fake_cells import cells, fake_setup
from tests.training import fakes
from unmute_jax.distributed.ray_cluster import Needs
from unmute_jax.grid import remote_cell
from unmute_jax.grid.remote_cell import (
    Changes,
    RemoteCell,
    finished_files,
    run_remote_cell,
)
from unmute_jax.training import run

__all__ = ["fake_setup"]


@pytest.fixture(autouse=True)
def node(fake_setup, monkeypatch):
    """A node that is this process, whose limits and caches stay as they are."""
    monkeypatch.setattr(Needs, "keep_to", lambda self: None)
    monkeypatch.setattr(remote_cell, "keep_compiled_programs", lambda: None)
    monkeypatch.setattr(remote_cell, "node_here", lambda: "node")
    monkeypatch.setattr(remote_cell, "SEND_EVERY", 0.01)
    remote_cell._opener.cache_clear()


def write(news, folder):
    """Does what the driver does with the files."""
    for name, content in news.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_all_but_checkpoints_is_sent_and_records_come_last(tmp_path):
    (cell,) = cells(probes="linear")
    every = list(run_remote_cell(RemoteCell(cell, {}, Needs())))
    for news in every:
        write(news, tmp_path)
    assert [news.phase for news in every if news.phase] == ["tokens", "training"]
    assert every[-1].outcome.state == "done"
    assert {news.node for news in every} == {"node"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "sources.json", "metrics.jsonl", "predictions", "probes",
        "results",
    }  # fmt: skip
    assert len(fakes.records_in(tmp_path / "results")) == 2
    names = [name for news in every for name in news.files]
    assert names[-2:] == [name for name in names if name.startswith("results/")]


def test_a_cell_goes_on_elsewhere_after_its_last_finished_trial(tmp_path, monkeypatch):
    (cell,) = cells(probes="linear", search="sweep", sweep={"sobol": 2, "tpe": 1})
    train, stacks = run.loop.train, []

    def lost(*arguments, **options):
        if len(stacks) == 1:
            raise RuntimeError("the node is lost")
        stacks.append(arguments)
        return train(*arguments, **options)

    monkeypatch.setattr(run.loop, "train", lost)
    for news in run_remote_cell(RemoteCell(cell, {}, Needs())):
        write(news, tmp_path)
    assert news.outcome.message == "RuntimeError: the node is lost"
    assert "Traceback" in news.outcome.details
    sent = sorted(path.name for path in (tmp_path / "trials").iterdir())
    assert sent

    (tmp_path / "status.json").touch()
    (tmp_path / "predictions").mkdir(exist_ok=True)
    (tmp_path / "predictions" / "large.npz").touch()
    files = finished_files(tmp_path)
    assert {name.split("/")[0] for name in files} == {
        "config.json", "sources.json", "metrics.jsonl", "trials",
    }  # fmt: skip
    monkeypatch.setattr(run.loop, "train", train)
    *_, last = every = list(run_remote_cell(RemoteCell(cell, files, Needs())))
    assert last.outcome.state == "done"
    # What the first node has finished is neither done nor sent again.
    again = {name for news in every for name in news.files}
    assert not again & {f"trials/{name}" for name in sent}
    assert any(name.startswith("results/") for name in again)


def test_what_is_no_error_of_a_cell_reaches_the_driver(monkeypatch):
    (cell,) = cells(probes="linear")

    def run_cell(*arguments):
        raise SystemExit("by a library")

    monkeypatch.setattr(remote_cell, "run_cell", run_cell)
    with pytest.raises(SystemExit, match="by a library"):
        list(run_remote_cell(RemoteCell(cell, {}, Needs())))


def test_checkpoints_that_are_deleted_meanwhile_fail_no_cell(tmp_path, monkeypatch):
    (tmp_path / "checkpoints" / "round 0").mkdir(parents=True)
    changes, scandir = Changes(tmp_path), os.scandir

    def deleted(path="."):
        if "round 0" in str(path):
            raise FileNotFoundError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deleted)
    (tmp_path / "config.json").write_text("{}")
    assert changes.take() == {"config.json": b"{}"}


def test_a_record_is_not_sent_without_what_was_written_before(tmp_path, monkeypatch):
    for folder in ("predictions", "results"):
        (tmp_path / folder).mkdir()
    changes, walk, files = Changes(tmp_path), os.walk, ["predictions/p", "results/r"]

    def writing(top):
        """Files are written just after their folders were listed for the first time."""
        for found in walk(top):
            yield found
            if files and found[0].endswith("predictions"):
                for file in (files.pop(0), files.pop(0)):
                    (tmp_path / file).write_text(file)

    monkeypatch.setattr(os, "walk", writing)
    assert list(changes.take()) == ["predictions/p", "results/r"]
