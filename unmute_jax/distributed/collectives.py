"""The one place that knows about devices and processes."""

import itertools
import pickle
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from unmute_jax.distributed.mesh import BATCH, local_mesh, make_mesh, pmapped, shard
from unmute_jax.errors import InputError

# Steps after which processes ask each other, a millisecond or so each time.
ASK_EVERY = 16
# Seconds within which a shared disk shows to one machine what another has written.
SETTLES = 60.0
T = TypeVar("T")
# Every process asks the same questions in the same order.
_questions = itertools.count()


def local_share(items: Sequence[int]) -> Sequence[int]:
    """This process's share of `items`, neighbours of each other."""
    count, index = jax.process_count(), jax.process_index()
    return items[len(items) * index // count : len(items) * (index + 1) // count]


def meet() -> None:
    """Connects the devices of all processes, once all of them are here.

    Those of CPUs must come within half a minute of each other the first time, which
    processes that compile side by side may not.
    """
    post("machine", platform.node())
    wait_for_all("meet")
    mesh = make_mesh()
    total = pmapped(
        lambda x: jax.lax.psum(x.sum(), BATCH), mesh, in_axes=(0,), out_axes=None
    )
    ones = np.ones(local_mesh(mesh).size, np.int32)
    jax.block_until_ready(total(shard(ones, mesh)))
    global_min(1)


def is_alone() -> bool:
    """Whether there is one process only."""
    return jax.process_count() == 1


def is_writer() -> bool:
    """Whether this process is the one that writes records, tables and lines."""
    return jax.process_index() == 0


def broadcast_from_writer(decide: Callable[[], T]) -> T:
    """What `decide` gives in the process that writes, in all of them.

    For whatever depends on files, which others may see later than those who wrote
    them: all processes must take the same turns.
    """
    if jax.process_count() == 1:
        return decide()
    key = f"unmute/broadcast_from_writer/{next(_questions)}"
    if is_writer():
        value = decide()
        _client().key_value_set_bytes(key, pickle.dumps(value))
        return value
    return pickle.loads(_awaited(key))


def retry_until_visible(look: Callable[[], T]) -> T:
    """What `look` gives, tried again while it cannot see what other processes wrote.

    Raises:
        InputError: It never could: there is no disk that all of them share.
    """
    if is_alone():
        return look()
    until = time.monotonic() + SETTLES
    while True:
        try:
            return look()
        except (InputError, OSError, RuntimeError) as error:
            if time.monotonic() >= until:
                raise InputError(
                    "what other processes have written cannot be seen from here: "
                    "UNMUTE_CACHE and --workdir must be on a disk that all share "
                    f"({error})"
                ) from error
            time.sleep(1)


def assert_same_on_all(what: str, value: Any) -> None:
    """Refuses processes that were given different things.

    Raises:
        InputError: `value` is not that of the process that writes.
    """
    wanted = broadcast_from_writer(lambda: value)
    if wanted != value:
        raise InputError(
            f"{what} must be the same for all processes: the first one has "
            f"{wanted!r:.300}, this one {value!r:.300}"
        )


def global_min(value: int) -> int:
    """The global_min `value` in any process, such as of the room that each has."""
    if jax.process_count() == 1:
        return value
    # In two halves: JAX has no integers of 64 bits.
    halves = np.asarray(divmod(value, 2**31), np.int32)
    every = multihost_utils.process_allgather(halves).tolist()
    high, low = min(map(tuple, every))
    return high * 2**31 + low


def wait_for_all(what: str) -> None:
    """Returns when every process is here; `what` must be the same in all of them.

    However long it takes, signals are heard: it waits for no device.
    """
    if jax.process_count() == 1:
        return
    key = f"unmute/{what}/{next(_questions)}"
    if _client().key_value_increment(key, 1) == jax.process_count():
        _client().key_value_set_bytes(f"{key}/all", b"here")
    _awaited(f"{key}/all")


def _awaited(key: str) -> bytes:
    """What some process says, as soon as it does."""
    while True:
        try:
            return _client().blocking_key_value_get_bytes(key, 1000)
        except jax.errors.JaxRuntimeError as error:
            # In between, Python looks after signals.
            if "DEADLINE_EXCEEDED" not in str(error):
                raise


def _client() -> Any:
    """The service that the processes met through; JAX has no public name for it."""
    return distributed.global_state.client


def post(room: str, text: str) -> None:
    """Leaves a note that every process can find."""
    _client().key_value_set(f"unmute/notes/{room}/{jax.process_index()}", text)


def posted(room: str) -> dict[int, str]:
    """The notes in `room`, by the index of the process that left them."""
    found = _client().key_value_dir_get(f"unmute/notes/{room}/")
    return {int(key.rpartition("/")[2]): text for key, text in found}


def name_of(index: int | None = None) -> str:
    """A process, for people; by default this one."""
    index = jax.process_index() if index is None else index
    return f"process {index} of {jax.process_count()}"


def global_max(before: int, step: int, *values: int) -> tuple[int, ...]:
    """The global_max of each of `values` in any process, the same in all of them.

    For requests that may come to one process alone, such as to stop. Processes ask
    each other once in a while, in the same steps; otherwise nobody wants anything.

    Args:
        before: The step that they were in when this was called last.
        step: The one that every process is in.
        values: Not negative.
    """
    if jax.process_count() == 1:
        return values
    if before // ASK_EVERY == step // ASK_EVERY:
        return (0,) * len(values)
    asked = multihost_utils.process_allgather(np.asarray(values, np.int32))
    return tuple(int(x) for x in asked.max(axis=0))
