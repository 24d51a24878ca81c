"""The one place that knows about devices and processes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from unmute_jax.errors import InputError

BATCH = "batch"
# Steps after which processes ask each other, a millisecond or so each time.
ASK_EVERY = 16


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
    return jax.device_put(tree, NamedSharding(mesh, P()), may_alias=False)


def everywhere(tree: Any, mesh: Mesh) -> Any:
    """`tree` on every device, to be read only: a CPU may take the host's own memory."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def spread(tree: Any, mesh: Mesh) -> Any:
    """A copy of `tree` dealt out to the devices along its leading axis.

    Every process passes all of it.
    """
    return jax.device_put(tree, NamedSharding(mesh, P(BATCH)), may_alias=False)


def to_host(tree: Any) -> Any:
    """`tree` as NumPy arrays, whole in every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


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


def wait_for_all(what: str) -> None:
    """Returns when every process is here; `what` must be the same in all of them."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


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
    """Bytes of memory that are free for use, as the operating system sees it."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Where nobody can tell (macOS), assume a small machine.
    return 8 * 1024**3
