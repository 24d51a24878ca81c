"""Places arrays on devices and maps functions over them."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from unmute_jax.errors import InputError

BATCH = "batch"


def make_mesh(devices: int | None = None) -> Mesh:
    """Returns a mesh with one axis, `BATCH`, the same in all processes.

    The axis is Auto: with the default Explicit axes `jnp.take` and `lax.map` over a
    sharded leading axis raise. Devices are ordered by process, so that each process
    has its rows of a batch in one block; `jax.make_mesh` would order them as they are
    wired.

    Args:
        devices: Number of devices, of which every process gives an equal share; by
            default all.

    Raises:
        InputError: There are fewer devices, or processes cannot give equal shares.
    """
    chosen = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    if devices is not None:
        count = jax.process_count()
        if devices % count or not 0 < devices <= len(chosen):
            raise InputError(
                f"config.devices={devices}: there are {len(chosen)}, and each of "
                f"{count} processes must use an equal number of its own"
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
    """Returns `step`, compiled and mapped over the devices of `mesh`.

    This is `jit(shard_map(step, check_vma=False))`, as `jax.pmap` itself is today, but
    with global arrays, so that checkpoints and many processes work. `step` sees the
    rows of its device only and reduces sums and counts with `jax.lax.psum(...,
    distributed.BATCH)`, never means of means.

    Args:
        step: The function of one device.
        mesh: The devices, as returned by `make_mesh`.
        in_axes: For each argument, 0 if its leading axis is split over the devices, or
            None if it is the same on all of them.
        out_axes: A tree prefix of the result with the same meaning.
        donate: Indices of arguments whose buffers the result may reuse.
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
    """Returns a copy of `tree` on every device; never an alias, so it can be donated.

    Args:
        tree: Arrays that every process passes whole.
        mesh: The devices.
    """
    return _place(tree, NamedSharding(mesh, P()), may_alias=False)


def replicate_read_only(tree: Any, mesh: Mesh) -> Any:
    """Returns `tree` on every device; a CPU may use the host's memory, so never donate.

    Args:
        tree: Arrays that every process passes whole.
        mesh: The devices.
    """
    return _place(tree, NamedSharding(mesh, P()), may_alias=None)


def split_over_devices(tree: Any, mesh: Mesh) -> Any:
    """Returns a copy of `tree`, split over the devices along the leading axes.

    Args:
        tree: Arrays that every process passes whole.
        mesh: The devices.
    """
    return _place(tree, NamedSharding(mesh, P(BATCH)), may_alias=False)


def replicated(x: jax.Array) -> NamedSharding:
    """Returns the sharding with a whole copy on every device that `x` is on."""
    assert isinstance(x.sharding, NamedSharding)
    return NamedSharding(x.sharding.mesh, P())


def with_rows_of(x: jax.Array, like: jax.Array) -> jax.Array:
    """Returns `x` with as many rows as `like`, on the same devices.

    Args:
        x: Array whose rows are cut off, or whose last row is repeated.
        like: Array with the number of rows and the sharding of the result.
    """
    host, missing = to_host(x), max(0, len(like) - len(x))
    host = np.concatenate([host, np.repeat(host[-1:], missing, axis=0)])[: len(like)]
    assert isinstance(like.sharding, NamedSharding)
    return _place(host, like.sharding, may_alias=False)


def _place(tree: Any, where: NamedSharding, *, may_alias: bool | None) -> Any:
    """Places `tree`, which every process has, on the devices of all processes.

    With several processes `jax.device_put` compares their values each time, which
    takes a while and only the main thread may do.
    """
    if where.is_fully_addressable:
        return jax.device_put(tree, where, may_alias=may_alias)

    def put(x: Any) -> jax.Array:
        host = np.array(x, copy=may_alias is False or None)
        return jax.make_array_from_callback(host.shape, where, lambda i: host[i])

    return jax.tree.map(put, tree)


def to_host(tree: Any) -> Any:
    """Returns `tree` as NumPy arrays, whole in every process."""

    def fetch(x: Any) -> np.ndarray:
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return np.asarray(x)
        if x.is_fully_replicated:
            return np.asarray(x.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))

    return jax.tree.map(fetch, tree)


def shard(tree: Any, mesh: Mesh) -> Any:
    """Splits host arrays over the devices along their leading axes.

    Args:
        tree: The rows of this process, a multiple of its number of devices.
        mesh: The devices.
    """
    sharding = NamedSharding(mesh, P(BATCH))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
    )


def local_rows(tree: Any) -> Any:
    """Returns this process's rows of host arrays that every process has whole.

    Each process has one block of rows, in the order of the processes.
    """
    count, index = jax.process_count(), jax.process_index()

    def share(x: np.ndarray) -> np.ndarray:
        rows = len(x) // count
        return x[index * rows : (index + 1) * rows]

    return tree if count == 1 else jax.tree.map(share, tree)


def local_mesh(mesh: Mesh) -> Mesh:
    """Returns the mesh of those devices of `mesh` that belong to this process."""
    if jax.process_count() == 1:
        return mesh
    mine = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return Mesh(np.asarray(mine), (BATCH,), axis_types=mesh.axis_types)
