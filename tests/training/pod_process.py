"""One process of a run of several, on virtual CPU devices.

python -m tests.training.pod_process SPEC DEVICES WORKDIR '{"epochs": 4}' [STEP SIGNAL]

With STEP, the process sends itself a signal in that step of its first training.
"""

import json
import os
import sys

import jax

from tests.training.fakes import settings, setup
from unmute_jax.distributed import collectives, launch, signals
from unmute_jax.io import cache_dir
from unmute_jax.training import batches, loop
from unmute_jax.training.run import run_experiment
from unmute_jax.training.workdir import Workdir

batches.STRETCH = collectives.ASK_EVERY = 2
launch.PATIENCE = 10


def signal_at(wanted, signum):
    moves = loop._steps

    def signalling(*arguments):
        for step, move in moves(*arguments):
            if step == wanted:
                os.kill(os.getpid(), signum)
            yield step, move

    loop._steps = signalling


def main(spec, devices, workdir, changes, *signalled):
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_compilation_cache_dir", str(cache_dir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if signalled:
        signal_at(*map(int, signalled))
    signals.at_once()
    try:
        with launch.joined(spec):
            made = setup(settings(**json.loads(changes)))
            records = run_experiment(made, Workdir(workdir, made.settings))
            print("done", *(r.test for r in records))
    except signals.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)


if __name__ == "__main__":
    main(*sys.argv[1:])
