"""The one place that knows about devices and processes."""

import functools
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
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from unmute_jax.errors import InputError

BATCH = "batch"
# Steps after which processes ask each other, a millisecond or so each time.
ASK_EVERY = 16
# Seconds within which a shared disk shows to one machine what another has written.
SETTLES = 60.0
T = TypeVar("T")
# Every process asks the same questions in the same order.
_questions = itertools.count()


def make_mesh(devices: int | None = None) -> Mesh:
    """A one-axis mesh over `devices` devices (all by default), alike in all processes.

    The axis is Auto: with the default Explicit axes `jnp.take` and `lax.map` over a
    sharded leading axis raise. Neighbours on it are of the same process, so that
    each process has its rows of a batch in one block; `jax.make_mesh` would order
    devices as they are wired.

    Raises:
        InputError: There are not so many, or the processes cannot share them evenly.
    """
    chosen = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    if devices is not None:
        count = jax.process_count()
        if devices % count or not 0 < devices <= len(chosen):
            raise InputError(
                f"config.devices={devices}: there are {len(chosen)}, and every one of "
                f"{count} processes uses as many of its own"
            )
        rank = {d: i % (len(chosen) // count) for i, d in enumerate(chosen)}
        chosen = [d for d in chosen if rank[d] < devices // count]
    return Mesh(np.asarray(chosen), (BATCH,), axis_types=(AxisType.Auto,))


def pmapped(
    step: Callable,
    mesh: Mesh,
    *,
    in_axes: tuple[int | None, ...],
    out_axes: Any,
    donate: tuple[int, ...] = (),
) -> Callable:
    """`step` mapped over the devices of `mesh`, compiled.

    This is `jit(shard_map(step, check_vma=False))`, what `jax.pmap` itself is today,
    with global arrays in and out, so that checkpoints and many processes work. `step`
    sees its own rows only and reduces with `jax.lax.psum(..., parallel.BATCH)`: sums
    and counts, never means of means.

    Args:
        step: The per-device function.
        mesh: From `make_mesh`.
        in_axes: Per argument: 0, its leading axis is split over the devices; None, it
            is the same on all of them.
        out_axes: A tree prefix of the result with the same meaning.
        donate: Arguments whose buffers the result may reuse.
    """

    def spec(axis: int | None) -> P:
        return P() if axis is None else P(BATCH)

    outs = jax.tree.map(spec, out_axes, is_leaf=lambda a: a is None)
    mapped = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=tuple(spec(a) for a in in_axes),
        out_specs=outs,
        check_vma=False,
    )
    return jax.jit(mapped, donate_argnums=donate)


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of `tree` on every device; never an alias, so that it can be donated."""
    return _place(tree, NamedSharding(mesh, P()), may_alias=False)


def everywhere(tree: Any, mesh: Mesh) -> Any:
    """`tree` on every device, to be read only: a CPU may take the host's own memory."""
    return _place(tree, NamedSharding(mesh, P()), may_alias=None)


def spread(tree: Any, mesh: Mesh) -> Any:
    """A copy of `tree` dealt out to the devices along its leading axis.

    Every process passes all of it.
    """
    return _place(tree, NamedSharding(mesh, P(BATCH)), may_alias=False)


def replicated(x: jax.Array) -> NamedSharding:
    """Whole, on all devices that `x` is on."""
    assert isinstance(x.sharding, NamedSharding)
    return NamedSharding(x.sharding.mesh, P())


def with_rows_of(x: jax.Array, like: jax.Array) -> jax.Array:
    """`x`, cut or with its last row repeated, as long as `like` and placed like it."""
    host, more = to_host(x), max(0, len(like) - len(x))
    host = np.concatenate([host, np.repeat(host[-1:], more, axis=0)])[: len(like)]
    assert isinstance(like.sharding, NamedSharding)
    return _place(host, like.sharding, may_alias=False)


def _place(tree: Any, where: NamedSharding, *, may_alias: bool | None) -> Any:
    """`tree`, which every process has, on the devices of all of them.

    With several processes `jax.device_put` would compare what they have each time,
    which no thread may do besides the main one, and takes a while.
    """
    if where.is_fully_addressable:
        return jax.device_put(tree, where, may_alias=may_alias)

    def put(x: Any) -> jax.Array:
        host = np.array(x, copy=may_alias is False or None)
        return jax.make_array_from_callback(host.shape, where, lambda i: host[i])

    return jax.tree.map(put, tree)


def to_host(tree: Any) -> Any:
    """`tree` as NumPy arrays, whole in every process."""

    def fetch(x: Any) -> np.ndarray:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return np.asarray(x)
        if x.is_fully_replicated:
            return np.asarray(x.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(fetch, tree)


def shard(tree: Any, mesh: Mesh) -> Any:
    """Host arrays split over the devices along their leading axis.

    Each process passes its own rows; their number must be a multiple of its devices.
    """
    sharding = NamedSharding(mesh, P(BATCH))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def local_rows(tree: Any) -> Any:
    """This process's share of host arrays that every process holds whole.

    Rows are dealt out in blocks, in the order of the processes.
    """
    count, index = jax.process_count(), jax.process_index()

    def share(x: np.ndarray) -> np.ndarray:
        rows = len(x) // count
        return x[index * rows : (index + 1) * rows]

    return tree if count == 1 else jax.tree.map(share, tree)


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of `mesh` that belong to this process, for work of its own."""
    if jax.process_count() == 1:
        return mesh
    mine = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return Mesh(np.asarray(mine), (BATCH,), axis_types=mesh.axis_types)


def dealt(items: Sequence[int]) -> Sequence[int]:
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
    lowest(1)


def is_alone() -> bool:
    """Whether there is one process only."""
    return jax.process_count() == 1


def is_writer() -> bool:
    """Whether this process is the one that writes records, tables and lines."""
    return jax.process_index() == 0


def decided(decide: Callable[[], T]) -> T:
    """What `decide` gives in the process that writes, in all of them.

    For whatever depends on files, which others may see later than those who wrote
    them: all processes must take the same turns.
    """
    if jax.process_count() == 1:
        return decide()
    key = f"unmute/decided/{next(_questions)}"
    if is_writer():
        value = decide()
        _client().key_value_set_bytes(key, pickle.dumps(value))
        return value
    return pickle.loads(_awaited(key))


def settled(look: Callable[[], T]) -> T:
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


def check_same(what: str, value: Any) -> None:
    """Refuses processes that were given different things.

    Raises:
        InputError: `value` is not that of the process that writes.
    """
    wanted = decided(lambda: value)
    if wanted != value:
        raise InputError(
            f"{what} must be the same for all processes: the first one has "
            f"{wanted!r:.300}, this one {value!r:.300}"
        )


def lowest(value: int) -> int:
    """The lowest `value` in any process, such as of the room that each has."""
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


def highest(before: int, step: int, *values: int) -> tuple[int, ...]:
    """The highest of each of `values` in any process, the same in all of them.

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
