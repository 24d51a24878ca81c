"""Runs of two processes, each with two virtual CPU devices, and of more or less."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from unmute_jax import results
from unmute_jax.distributed import launch

CHANGES = {"epochs": 2, "probes": "protobin", "seeds": 1}


def start(cache, workdir, signalled=(), count=2, devices=2, changes=()):
    """Starts the processes of a run of `devices` each.

    Per process, `signalled` are (step, signal), and `changes` its settings.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "UNMUTE_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    given = [*signalled, *[()] * count][:count]
    changes = changes or [CHANGES] * count
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.pod_process",
             f"localhost:{port},{count},{index}", str(devices), str(workdir),
             json.dumps(changes[index]), *map(str, given[index])],
            cwd=pathlib.Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]  # fmt: skip


def end(started):
    """Per process: exit code, output, lines of the error output.

    Without those of progress, and of orbax, which tells what a kill has left.
    """
    ended = []
    for process in started:
        out, errors = process.communicate(timeout=180)
        lines = errors.splitlines()
        lines = [x for x in lines if "steps/s" not in x and "WARNING:absl" not in x]
        ended.append((process.returncode, out, lines))
    return ended


def run(*arguments, **options):
    return end(start(*arguments, **options))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def both(cache, tmp_path_factory):
    """The whole run in two processes, which also made the tokens."""
    folder = tmp_path_factory.mktemp("both")
    return folder, run(cache, folder)


@pytest.fixture(scope="module")
def alone(cache, both, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    ((code, _, errors),) = run(cache, folder, count=1)
    assert code == 0, errors
    return folder


def params(folder):
    found = {}
    for file in sorted((folder / "probes").iterdir()):
        for name, x in safetensors.numpy.load_file(file).items():
            found[file.name, name] = x
    return found


def assert_close(folder, other):
    ours, theirs = params(folder), params(other)
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 2
    for key, wanted in theirs.items():
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(ours[key], wanted, rtol=0, atol=1e-5 * scale)


def test_two_processes_give_what_one_gives(both, alone):
    folder, ended = both
    assert [code for code, *_ in ended] == [0, 0], ended
    assert_close(folder, alone)
    ours, theirs = (results.read_records(f / "results") for f in (folder, alone))
    assert [r.validation for r in ours] == pytest.approx([r.validation for r in theirs])
    assert ours[0].facts["devices"].startswith("4 x")


def test_one_of_them_writes_and_speaks(both):
    folder, ((_, first, _), (_, second, errors)) = both
    assert "done" in first
    assert (second, errors) == ("", [])
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2 * CHANGES["epochs"]


def test_stopped_and_lost_processes_end_all_and_any_number_goes_on(
    cache, alone, tmp_path
):
    # A signal to one of them: both save and end, and one says so.
    ended = run(cache, tmp_path, [(), (2, int(signal.SIGTERM))])
    assert [code for code, *_ in ended] == [143, 143], ended
    assert [line for _, _, errors in ended for line in errors] == [
        "stopped by SIGTERM; the same command goes on from step 2 of protobin, "
        "official split, search x2"
    ]
    # A process that is killed, first the one that JAX meets at, then the other.
    for victim, step in ((0, 6), (1, 8)):
        signalled = [(), ()]
        signalled[victim] = (step, int(signal.SIGKILL))
        ended = run(cache, tmp_path, signalled)
        assert ended[victim][0] == -signal.SIGKILL
        code, _, lines = ended[1 - victim]
        assert code == launch.LOST, lines
        assert len(lines) == 1
        assert lines[0].startswith(f"error: process {victim} of 2 was lost")
    # Four processes of one device each go on, until the last of them is signalled.
    signalled = [(), (), (), (8, int(signal.SIGTERM))]
    ended = run(cache, tmp_path, signalled, count=4, devices=1)
    assert [code for code, *_ in ended] == [143] * 4, ended
    (line,) = [line for _, _, errors in ended for line in errors]
    assert "goes on from step 8" in line
    # One process goes on.
    ((code, _, errors),) = run(cache, tmp_path, count=1)
    assert code == 0, errors
    assert_close(tmp_path, alone)


def test_an_error_in_one_of_them_ends_both_with_one_line(cache, tmp_path):
    other = {**CHANGES, "epochs": 3}
    ended = run(cache, tmp_path, changes=(CHANGES, other))
    assert [code for code, *_ in ended] == [2, 2], ended
    (line,) = [line for _, _, errors in ended for line in errors]
    assert line.startswith("error: process 1 of 2: the config of this run must be the ")
