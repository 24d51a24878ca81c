"""One process of a run of several, on virtual CPU devices.

python -m tests.training.pod_process SPEC DEVICES WORKDIR '{"epochs": 4}' [STEP SIGNAL]

With STEP, the process sends itself a signal in that step of its first training.
"""

import json
import os
import sys

import jax

from tests.training.fakes import materials, settings
from unmute_jax import parallel, processes, stopping
from unmute_jax.caches import cache_dir
from unmute_jax.training import experiment, loop
from unmute_jax.training import inputs as inp
from unmute_jax.training.workdir import Workdir

inp.STRETCH = parallel.ASK_EVERY = 2
processes.PATIENCE = 10


def signal_at(wanted, signum):
    moves = loop._moves

    def signalling(*arguments):
        for step, move in moves(*arguments):
            if step == wanted:
                os.kill(os.getpid(), signum)
            yield step, move

    loop._moves = signalling


def main(spec, devices, workdir, changes, *signalled):
    jax.config.update("jax_num_cpu_devices", int(devices))
    jax.config.update("jax_compilation_cache_dir", str(cache_dir("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if signalled:
        signal_at(*map(int, signalled))
    stopping.at_once()
    try:
        with processes.joined(spec):
            made = materials(settings(**json.loads(changes)))
            records = experiment.run(made, Workdir(workdir, made.settings))
            print("done", *(r.test for r in records))
    except stopping.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.code)


if __name__ == "__main__":
    main(*sys.argv[1:])
