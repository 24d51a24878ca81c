"""Agreement between the processes of a run: waiting, broadcasting, minima and maxima.

All processes must call these functions in the same order, each from its main thread.
"""

import functools
import itertools
import pickle
import platform
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from unmute_jax.distributed.mesh import BATCH, local_mesh, make_mesh, pmapped, shard
from unmute_jax.errors import InputError

# Training steps between two calls of `global_max` that exchange values, which takes
# about a millisecond.
AGREE_EVERY = 16
# Seconds within which a shared disk shows to one machine what another has written.
VISIBLE_WITHIN = 60.0
# Milliseconds that a process waits for the others: a week, for some may still embed.
_PATIENCE = 7 * 24 * 3600 * 1000
T = TypeVar("T")
# Every process counts the same waits, so that no two of them have the same name.
_waits = itertools.count()


def is_alone() -> bool:
    """Whether this is the only process of the run."""
    return jax.process_count() == 1


def is_writer() -> bool:
    """Whether this process is the one that writes records, tables and messages."""
    return jax.process_index() == 0


def local_share(items: Sequence[int]) -> Sequence[int]:
    """Returns this process's share of `items`, a contiguous block."""
    count, index = jax.process_count(), jax.process_index()
    return items[len(items) * index // count : len(items) * (index + 1) // count]


def connect_devices() -> None:
    """Connects the devices of all processes, once all processes have started.

    CPUs must make their first exchange within half a minute of each other, which
    processes that compile programs side by side may not.
    """
    wait_for_all("start")
    mesh = make_mesh()
    total = pmapped(
        lambda x: jax.lax.psum(x.sum(), BATCH), mesh, in_axes=(0,), out_axes=None
    )
    ones = np.ones(local_mesh(mesh).size, np.int32)
    jax.block_until_ready(total(shard(ones, mesh)))
    processes_here()


@functools.cache
def processes_here() -> int:
    """Returns the number of processes of this run on this machine."""
    if is_alone():
        return 1
    machine = np.uint32(zlib.crc32(platform.node().encode()))
    return int((multihost_utils.process_allgather(machine) == machine).sum())


def wait_for_all(what: str) -> None:
    """Returns when all processes have called it.

    No device takes part, as collectives on CPUs fail where a process is late.

    Args:
        what: The name of the event, the same in all processes.
    """
    if is_alone():
        return
    from orbax.checkpoint import multihost  # Takes long to import.

    barrier = multihost.get_barrier_sync_fn()
    barrier(key=f"unmute/{what}/{next(_waits)}", timeout_ms=_PATIENCE)


def broadcast_from_writer(decide: Callable[[], T]) -> T:
    """Returns in all processes what `decide` returns in the writer.

    It is for decisions that depend on files, which other processes may see later than
    the writer: all processes must take the same branches.

    Args:
        decide: Function without arguments, called in the writer only. Its value must
            be picklable.

    Raises:
        InputError: `decide` raised it; all processes raise it with the same message.
    """
    if is_alone():
        return decide()
    content = b""
    if is_writer():
        try:
            content = pickle.dumps((decide(), None))
        except InputError as error:
            content = pickle.dumps((None, str(error)))
    wait_for_all("decision")
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    # Few different sizes, as each is a program to compile.
    padded = np.zeros(1 << max(10, (size - 1).bit_length()), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)
    value, problem = pickle.loads(received[:size].tobytes())
    if problem is not None:
        raise InputError(problem)
    return value


def assert_same_on_all(what: str, value: Any) -> None:
    """Checks that all processes were given the same.

    Args:
        what: Name of the value, for the message.
        value: The value in this process, picklable.

    Raises:
        InputError: The value differs from the writer's.
    """
    wanted = broadcast_from_writer(lambda: value)
    if wanted != value:
        raise InputError(
            f"{what} must be the same for all processes: the first one has "
            f"{wanted!r:.300}, process {jax.process_index()} has {value!r:.300}"
        )


def retry_until_visible(
    look: Callable[[], T],
    within: float | None = None,
    advice: str = "UNMUTE_CACHE and --workdir must be on a disk that all share",
) -> T:
    """Returns what `look` returns, retried while other processes' files are missing.

    Args:
        look: Function without arguments that reads files of other processes.
        within: Seconds after which the files count as missing. By default there are
            `VISIBLE_WITHIN`, or none if this process is alone.
        advice: What the user can do if they are missing.

    Raises:
        InputError: The files did not appear: the processes share no disk.
    """
    if within is None:
        if is_alone():
            return look()
        within = VISIBLE_WITHIN
    until = time.monotonic() + within
    while True:
        try:
            return look()
        except (InputError, OSError, RuntimeError) as error:
            if time.monotonic() >= until:
                raise InputError(
                    f"files of other processes cannot be seen from here: {advice} "
                    f"({error})"
                ) from error
            time.sleep(1)


def global_min(value: int) -> int:
    """Returns the minimum of `value` over all processes.

    Args:
        value: A number of this process, such as its free bytes; not negative.
    """
    if is_alone():
        return value
    # In two halves: JAX has no integers of 64 bits by default.
    halves = np.asarray(divmod(value, 2**31), np.int32)
    high, low = min(map(tuple, multihost_utils.process_allgather(halves).tolist()))
    return high * 2**31 + low


def global_max(before: int, step: int, *values: int) -> tuple[int, ...]:
    """Returns the maximum of each of `values` over all processes, now and then.

    It is for requests that may reach one process alone, such as a signal to stop.
    Processes exchange their values every `AGREE_EVERY` steps; in between, all get
    zeros.

    Args:
        before: The step of the last call.
        step: The step that all processes are in.
        values: Numbers of this process, not negative.
    """
    if is_alone():
        return values
    if before // AGREE_EVERY == step // AGREE_EVERY:
        return (0,) * len(values)
    gathered = multihost_utils.process_allgather(np.asarray(values, np.int32))
    return tuple(int(x) for x in gathered.max(axis=0))
