"""Locks that another process holds, until it is killed."""

import contextlib
import subprocess
import sys

_HOLD = (
    "import pathlib, sys; from unmute_jax.locks import locked\n"
    "with locked(pathlib.Path(sys.argv[1]), 'preparing esc50'):\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


@contextlib.contextmanager
def started(code, *arguments, until="held"):
    """Runs code in another process from where it prints a line until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == f"{until}\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def held_elsewhere(path):
    """Holds a lock in another process, which leaves when its input ends."""
    return started(_HOLD, path)
