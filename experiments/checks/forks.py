"""Runs modules in forks of one process that has imported what takes long.

Each run is a process of its own that starts in a fraction of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What the commands of `unmute` import, and what takes long.
MODULES = (
    "unmute_jax.cli.main",
    "unmute_jax.datasets.base",
    "unmute_jax.grid.status",
    "unmute_jax.results.plots",
    "unmute_jax.training.plan",
)
# Answers requests (arguments, environment, folder), one per line, by running a module
# in a fork: its exit code, what it printed, and what it printed as errors.
_SERVER = """
import importlib, json, os, runpy, sys, tempfile, traceback
for module in sys.argv[1:]:
    importlib.import_module(module)
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
        texts.append(file.read().decode(errors="replace"))
    print(json.dumps([code, *texts]), flush=True)
"""


class Done(NamedTuple):
    """How a run ended.

    Attributes:
        returncode: Exit code, or the negative number of the signal that ended it.
        stdout: What it printed.
        stderr: What it printed as errors.
    """

    returncode: int
    stdout: str
    stderr: str


class ForkServer:
    """A process whose forks run modules."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]):
        """Starts the process.

        Args:
            environment: Its environment variables.
            modules: Names of the modules that it imports, such as `MODULES`.
        """
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _SERVER, *modules],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        module: str,
        arguments: Sequence[object],
        environment: Mapping[str, str],
        folder: str | os.PathLike[str],
    ) -> Done:
        """Runs `python -m MODULE` to its end.

        Args:
            module: Name of the module.
            arguments: Arguments of its command line.
            environment: Its environment variables.
            folder: Its working directory.
        """
        request = [module, list(map(str, arguments)), dict(environment), str(folder)]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
