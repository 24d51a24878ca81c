"""Runs a command in a process of its own and measures its time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping

from unmute_jax.errors import InputError


def measure(*command: str, **environment: str) -> tuple[float, int]:
    """Returns the seconds that a command takes, and its peak memory in bytes.

    Args:
        *command: The command and its arguments.
        **environment: Variables to change in its environment.

    Raises:
        InputError: The command failed.
    """
    start = time.monotonic()
    variables: Mapping[str, str] = {**os.environ, **environment}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=variables) as process:
        # wait4 returns the usage of this child alone. Linux includes what the parent
        # held when it started the child, which is less than the child needs.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"{' '.join(command)} failed")
    # The unit is KiB on Linux and bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return time.monotonic() - start, usage.ru_maxrss * unit
