"""The one place that knows about devices and processes."""

import functools
import platform

import jax

from unmute_jax.distributed.collectives import is_alone, posted


def free_memory() -> int:
    """Bytes that are free on each of this process's devices (on CPU: of the host)."""
    known = [d.memory_stats() for d in jax.local_devices()]
    free = [s["bytes_limit"] - s["bytes_in_use"] for s in known if s]
    return min(free) if free else host_memory()


def host_memory() -> int:
    """Bytes of memory that are free for this process, as the operating system sees it.

    Processes on one machine have equal shares.
    """
    return _machine_memory() // _processes_here()


@functools.cache
def _processes_here() -> int:
    """Processes of this run on this machine."""
    if is_alone():
        return 1
    return max(1, list(posted("machine").values()).count(platform.node()))


def _machine_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Where nobody can tell (macOS), assume a small machine.
    return 8 * 1024**3
