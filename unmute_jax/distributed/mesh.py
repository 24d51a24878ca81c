"""The one place that knows about devices and processes."""

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


def split_over_devices(tree: Any, mesh: Mesh) -> Any:
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
