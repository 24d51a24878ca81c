"""Runs commands as a person does, each in a process of its own.

The processes are forks of one that has imported what takes long, so that every command
starts in a fraction of a second.
"""

import atexit
import functools
import os
import pathlib

from experiments.checks.forks import MODULES, ForkServer

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


@functools.cache
def _server():
    server = ForkServer({**os.environ, "JAX_PLATFORMS": "cpu"}, MODULES)
    atexit.register(server.close)
    return server


def environment(cache):
    return {**os.environ, "UNMUTE_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}


def run_module(module, *arguments, cache=None, cwd=None):
    """Runs `python -m MODULE` to its end."""
    variables = environment(os.environ["UNMUTE_CACHE"] if cache is None else cache)
    folder = pathlib.Path.cwd() if cwd is None else cwd
    return _server().run(module, arguments, variables, folder)


def start(*arguments, cache, program="train", cwd=None):
    """Runs a command of `unmute`, or a program of `experiments` ("checks.resume")."""
    if "." in program:
        module = f"experiments.{program}"
        return run_module(module, *arguments, cache=cache, cwd=cwd)
    return run_module("unmute_jax.cli.main", program, *arguments, cache=cache, cwd=cwd)


def start_forked(orders, *, cache):
    """Runs several `unmute` command lines, one after the other."""
    return [run_module("unmute_jax.cli.main", *order, cache=cache) for order in orders]
