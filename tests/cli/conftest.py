"""A finished tiny run, made once for all processes of the tests."""

import json
import os
import pathlib

import filelock
import pytest

from experiments.checks.forks import Done
from tests.cli.commands import TINY, start


@pytest.fixture(scope="session")
def shared_cache():
    """The cache of the tiny run; tests that damage it take a copy."""
    return pathlib.Path(os.environ["UNMUTE_CACHE"]) / "tiny" / "cache"


@pytest.fixture(scope="session")
def tiny_run(shared_cache):
    """The folder of a finished tiny run, and how its command ended."""
    folder = shared_cache.parent / "runs" / "of mine" / "one"
    output = shared_cache.parent / "done.json"
    shared_cache.parent.mkdir(exist_ok=True)
    with filelock.FileLock(shared_cache.parent / "lock"):
        if not output.exists():
            done = start(*TINY, f"--workdir={folder}", cache=shared_cache)
            assert done.returncode == 0, done.stderr
            output.write_text(json.dumps(done))
    return folder, Done(*json.loads(output.read_text()))
