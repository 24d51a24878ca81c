"""One process of a run of several, on two virtual CPU devices.

    python -m tests.distributed.process train SPEC WORKDIR [STEP SIGNAL]
    python -m tests.distributed.process agree SPEC
    python -m tests.distributed.process lose SPEC

With STEP, the process sends itself a signal in that step of its training. The second
process of `lose` is killed while the first one waits for it.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import jax
import pytest

from unmute_jax import distributed
from unmute_jax.distributed import collectives, launch, signals
from unmute_jax.errors import InputError

CHANGES = {"epochs": 2, "probes": "protobin", "seeds": 1}


def run(task, *arguments, extra=((), ())):
    """Runs two processes; returns exit code, output and error output of each.

    Args:
        task: What `this module does.
        *arguments: Arguments of both processes.
        extra: Further arguments of each.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.process", task,
             f"localhost:{port},2,{index}", *map(str, [*arguments, *extra[index]])],
            cwd=pathlib.Path(__file__).parents[2],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=180) for process in started]
    codes = [process.returncode for process in started]
    return [(code, *output) for code, output in zip(codes, outputs, strict=True)]


def signal_at(wanted, signum):
    global_max = distributed.global_max

    def signalling(before, step, *values):
        if step == wanted:
            os.kill(os.getpid(), signum)
        return global_max(before, step, *values)

    distributed.global_max = signalling


def train(workdir, *signalled):
    from tests.training.fakes import make_setup, settings
    from unmute_jax.training import batches
    from unmute_jax.training.run import run_experiment
    from unmute_jax.training.workdir import Workdir, alone_in

    batches.STEPS_PER_BLOCK = collectives.AGREE_EVERY = 2
    if signalled:
        signal_at(*map(int, signalled))
    setup = make_setup(settings(**CHANGES))
    with alone_in(workdir):
        records = run_experiment(setup, Workdir(workdir, setup.settings))
    print("done", *(record.test for record in records))


def refuse():
    raise InputError(f"refused by {jax.process_index()}")


def agree():
    index = jax.process_index()
    assert distributed.processes_here() == jax.process_count() == 2
    assert list(distributed.local_share(range(5))) == [[0, 1], [2, 3, 4]][index]
    for size in (1, 5000):
        value = distributed.broadcast_from_writer(lambda n=size: [index] * n)
        assert value == [0] * size
    with pytest.raises(InputError, match="refused by 0"):
        distributed.broadcast_from_writer(refuse)
    assert distributed.global_min(2**40 + index) == 2**40
    assert distributed.global_max(15, 16, index, 3 - index) == (1, 3)
    assert distributed.global_max(16, 17, index, 3 - index) == (0, 0)
    distributed.assert_same_on_all("the weather", "fair")
    print("agreed")
    # Fails in the second process, and the first one must not wait for ever.
    distributed.assert_same_on_all("the index", index)
    while True:
        distributed.global_min(1)


def lose():
    if jax.process_index() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.wait_for_all("what never happens")
    print("went on alone")


def main(task, spec, *arguments):
    jax.config.update("jax_num_cpu_devices", 2)
    if task == "lose":
        launch.PATIENCE = 5
    signals.at_once()
    try:
        with launch.joined(spec):
            {"train": train, "agree": agree, "lose": lose}[task](*arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except signals.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)


if __name__ == "__main__":
    main(*sys.argv[1:])
