"""Starts commands as a person does, in processes of their own."""

import json
import os
import subprocess
import sys
from typing import NamedTuple

# A quickstart of a few seconds.
TINY = (
    "--config=quickstart",
    "--config.dataset_options.train_clips=24",
    "--config.dataset_options.validation_clips=12",
    "--config.dataset_options.test_clips=12",
    "--config.batch_size=16",
    "--config.epochs=2",
    "--config.seeds=2",
    "--config.optimizer.learning_rates=0.01,0.1",
    "--config.probe_options.prototypes_per_class=2",
)

# Runs each command line in a fork of one process that has imported what takes long.
_FORKS = """
import json, os, sys, tempfile
import unmute_jax.cli.main, unmute_jax.training.plan, unmute_jax.results.plots
for arguments in json.loads(sys.argv[1]):
    files = [tempfile.TemporaryFile() for _ in range(2)]
    child = os.fork()
    if not child:
        for number, file in enumerate(files, start=1):
            os.dup2(file.fileno(), number)
        sys.argv = ["unmute", *arguments]
        unmute_jax.cli.main.main()
        sys.exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode())
    print(json.dumps([code, *texts]), flush=True)
"""


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def environment(cache):
    return {**os.environ, "UNMUTE_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}


def start(*arguments, cache, program="train", cwd=None):
    """Runs a command of `unmute`, or a program of `experiments` ("checks.resume")."""
    is_command = "." not in program
    module = (
        ["unmute_jax.cli.main", program] if is_command else [f"experiments.{program}"]
    )
    done = subprocess.run(
        [sys.executable, "-m", *module, *arguments],
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start_forked(orders, *, cache):
    """Runs several `unmute` command lines; imports are paid for once."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _FORKS, json.dumps(orders)],
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [Done(*json.loads(line)) for line in done.stdout.splitlines()]
