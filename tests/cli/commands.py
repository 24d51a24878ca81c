"""Runs commands as a person does, each in a process of its own.

The processes are forks of one that has imported what takes long, so that every command
starts in a fraction of a second.
"""

import atexit
import functools
import json
import os
import pathlib
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

# Answers requests (arguments, environment, folder), one per line, by running a module
# in a fork: its exit code, what it printed, and what it printed as errors.
_SERVER = """
import json, os, runpy, sys, tempfile, traceback
import unmute_jax.cli.main, unmute_jax.datasets.base, unmute_jax.grid.status
import unmute_jax.results.plots, unmute_jax.training.plan
for line in sys.stdin:
    module, arguments, environment, folder = json.loads(line)
    files = [tempfile.TemporaryFile() for _ in range(2)]
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, start=1):
            os.dup2(file.fileno(), number)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = [module, *arguments]
        code = 0
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else bool(error.code)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
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


@functools.cache
def _server():
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SERVER],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(server.communicate)
    return server


def environment(cache):
    return {**os.environ, "UNMUTE_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}


def run_module(module, *arguments, cache=None, cwd=None):
    """Runs `python -m MODULE` to its end."""
    variables = environment(os.environ["UNMUTE_CACHE"] if cache is None else cache)
    folder = str(pathlib.Path.cwd() if cwd is None else cwd)
    request = [module, list(map(str, arguments)), variables, folder]
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return Done(*json.loads(server.stdout.readline()))


def start(*arguments, cache, program="train", cwd=None):
    """Runs a command of `unmute`, or a program of `experiments` ("checks.resume")."""
    if "." in program:
        module = f"experiments.{program}"
        return run_module(module, *arguments, cache=cache, cwd=cwd)
    return run_module("unmute_jax.cli.main", program, *arguments, cache=cache, cwd=cwd)


def start_forked(orders, *, cache):
    """Runs several `unmute` command lines, one after the other."""
    return [run_module("unmute_jax.cli.main", *order, cache=cache) for order in orders]
