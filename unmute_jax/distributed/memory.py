"""Free memory of devices and of the host."""

import jax

from unmute_jax.distributed.collectives import processes_here

# The share of the machine that the task of this process may use.
_share = 1.0


def set_memory_share(share: float) -> None:
    """Limits this process to a share of the memory that is free on the machine."""
    global _share
    _share = min(share, 1.0)


def free_memory() -> int:
    """Returns the bytes that are free on every device of this process.

    CPU devices share the host's memory, which is returned for them.
    """
    stats = [device.memory_stats() for device in jax.local_devices()]
    free = [s["bytes_limit"] - s["bytes_in_use"] for s in stats if s]
    return min(free) if free else host_memory()


def host_memory() -> int:
    """Returns the bytes of host memory that are free for this process.

    The processes of a run have equal shares of their machine; the task of a cluster
    has the share that belongs to its cores.
    """
    return int(_machine_memory() * _share) // processes_here()


def _machine_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Other systems (macOS) do not tell: assume a small machine.
    return 8 * 1024**3
