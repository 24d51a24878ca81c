"""Looking after token stores, as a person does it: in processes of their own."""

import shutil

import numpy as np
import pytest

from experiments.benchmarks.synthetic_store import write_store
from tests.cli.commands import TINY, start, start_forked

ONE_PROBE = (*TINY, "--config.probes=linear", "--config.seeds=1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the cache of a run, and the run in a folder of runs."""
    folder = tmp_path_factory.mktemp("made")
    run = folder / "runs/of mine/one"
    done = start(*ONE_PROBE, f"--workdir={run}", cache=folder / "cache")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def cache(made, tmp_path):
    """A copy of the cache, with a store beside it that nothing uses."""
    copy = shutil.copytree(made / "cache", tmp_path / "cache")
    write_store(copy / "tokens/old", 5, "int8", (3, 2, 8))
    return copy


def embed(*arguments, cache):
    return start(*arguments, cache=cache, program="embed")


def test_damage_is_told_in_a_line_and_by_the_end(cache):
    (path,) = (cache / "tokens").glob("esc_mix-train-*")
    file = path / "patches/c/0/0/0/0"
    file.write_bytes(file.read_bytes()[:-9])
    done = embed("--verify", cache=cache)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert f"{path.name}: damaged (shard 0: " in done.stdout
    assert f"{path.parent}/old: intact" in lines
    assert "4 stores, 1 damaged, 0 could not be read" in lines
    listed = embed("--info", cache=cache)
    assert "damaged, 0 clips are there" in listed.stdout
    assert listed.stdout.count("complete") == 3


def test_only_what_nothing_uses_goes_and_only_if_that_is_said(made, cache):
    there = {p.name for p in (cache / "tokens").iterdir()}
    typo = embed("--prune", "--yes", "--runs=rnus", *ONE_PROBE, cache=cache)
    assert (typo.returncode, typo.stdout) == (2, "")
    assert "there is no folder rnus" in typo.stderr
    dry = embed("--prune", "--runs=", *ONE_PROBE, cache=cache)
    assert "1 of 4 stores" in dry.stdout
    assert dry.stdout.splitlines()[1].endswith(" old")
    assert {p.name for p in (cache / "tokens").iterdir()} == there
    done = embed("--prune", "--yes", f"--runs={made / 'runs'}", cache=cache)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (cache / "tokens").iterdir()} == there - {"old"}


def test_tokens_that_training_made_are_exported(cache, tmp_path):
    out = tmp_path / "out"
    done, refused = start_forked(
        [
            ["embed", *ONE_PROBE, "--export=npy", f"--output={out}"],
            ["embed", *ONE_PROBE, "--output=x"],
        ],
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("read from") == 3
    assert f" {out}/" in done.stdout
    sizes = {s: len(np.load(out / f"mean_{s}.npy")) for s in ("train", "test")}
    assert sizes == {"train": 24, "test": 12}
    assert refused.returncode == 2
    assert "--output needs --export" in refused.stderr


def test_looking_after_stores_needs_no_cluster(cache):
    done = embed("--info", "--engine=ray", cache=cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--info is done here: leave out --engine" in done.stderr
