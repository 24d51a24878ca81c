"""The check of token stores runs, and would find what it looks for."""

import random
import shutil

import pytest
from absl.testing import flagsaver

from experiments.checks import store as check
from tests.store.fakes import fake_dataset, fake_encoder
from unmute_jax.store.embed import embed
from unmute_jax.store.maintenance import store_folders

SMALL = {"clips": 70, "kills": 2, "corruptions": 3}


def fill(cache):
    """Embeds a small data set; resumes where an earlier pass stopped."""
    tokens = cache / "tokens"
    return embed(fake_encoder(), fake_dataset(70), "train", root=tokens, log=str).path


@pytest.fixture
def path(tmp_path):
    return fill(tmp_path)


@flagsaver.flagsaver(**SMALL)
def test_writers_fill_a_cache(tmp_path):
    assert check.write(tmp_path) > 0
    assert len(store_folders(tmp_path / "tokens")) == 3
    assert not check.is_half_written(tmp_path / "tokens")


@flagsaver.flagsaver(**SMALL)
def test_what_killed_writers_leave_is_compared_file_by_file(tmp_path, monkeypatch):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    path = fill(undisturbed)
    length = [None]  # Of the file that is written last.
    last = f"tokens/{path.name}/patches/c/1/0/0/0"

    def write(cache, count, lifetimes, note):
        assert (count, len(lifetimes)) == (2, 2)
        fill(cache)
        data = (cache / last).read_bytes()
        (cache / last).unlink()
        note()  # A shard is half written.
        (cache / last).write_bytes(data[: length[0]])
        note()

    monkeypatch.setattr(check, "write", write)
    trial, times, failures = check.kill_writers(
        undisturbed, killed, 1.0, random.Random(0)
    )
    assert (times, failures) == (2, [])
    assert "(1 left shards half written)" in trial

    length[0] = -1
    *_, failures = check.kill_writers(undisturbed, killed, 1.0, random.Random(0))
    assert len(failures) == 1
    assert "differs from that of the undisturbed writer" in failures[0]


@flagsaver.flagsaver(**SMALL)
def test_damage_is_found_and_repaired(path):
    rng = random.Random(0)
    assert check.alter_bytes(path, rng) == ("altered bytes", 3, [])
    assert check.truncate_files(path, rng)[2] == []
    other = embed(
        fake_encoder(1), fake_dataset(70), "train", root=path.parent, log=str
    ).path
    assert check.exchange_files(path, other, rng) == ("exchanged files", 3, [])
    _, shards, failures = check.repair(path, rng, lambda: fill(path.parents[1]))
    assert (shards, failures) == (2, [])


def test_undetected_damage_is_reported(path, monkeypatch):
    wanted = check.content(path)
    monkeypatch.setattr(check, "verify_store", lambda path: [])
    other = embed(
        fake_encoder(1), fake_dataset(70), "train", root=path.parent, log=str
    ).path
    shutil.copytree(other, path, dirs_exist_ok=True)
    read, found = check.undetected(path, wanted, "patches")
    assert read == "patches: read without an error"
    assert found == "patches: not found by --verify"
    *_, failures = check.repair(path, random.Random(0), lambda: None)
    assert failures == [f"{path.name}: not as before the damage"]
