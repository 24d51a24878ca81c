"""Arrays on the two virtual devices of the tests."""

import jax
import numpy as np
import pytest

from unmute_jax import distributed
from unmute_jax.errors import InputError

ROWS = np.arange(8, dtype=np.float32).reshape(4, 2)


def test_a_mesh_has_no_more_devices_than_there_are():
    assert distributed.make_mesh().size == 2
    with pytest.raises(InputError, match=r"config\.devices=3: there are 2"):
        distributed.make_mesh(3)


def test_a_mapped_function_sees_the_rows_of_its_device():
    mesh = distributed.make_mesh(2)

    def step(factor, rows):
        assert rows.shape == (2, 2)
        return jax.lax.psum(rows.sum(), distributed.BATCH), rows * factor

    mapped = distributed.pmapped(step, mesh, in_axes=(None, 0), out_axes=(None, 0))
    total, doubled = mapped(np.float32(2), distributed.shard(ROWS, mesh))
    assert total == ROWS.sum()
    np.testing.assert_array_equal(distributed.to_host(doubled), 2 * ROWS)


@pytest.mark.parametrize(
    "place",
    [
        distributed.replicate,
        distributed.replicate_read_only,
        distributed.split_over_devices,
        distributed.shard,
    ],
)
def test_arrays_come_back_whole_from_the_devices(place):
    mesh = distributed.make_mesh(2)
    tree = place({"x": ROWS}, mesh)
    is_split = place in (distributed.split_over_devices, distributed.shard)
    rows = 2 if is_split else 4
    assert {s.data.shape for s in tree["x"].addressable_shards} == {(rows, 2)}
    np.testing.assert_array_equal(distributed.to_host(tree)["x"], ROWS)
    whole = jax.device_put(tree["x"], distributed.replicated(tree["x"]))
    assert whole.is_fully_replicated


@pytest.mark.parametrize("count", [2, 6])
def test_rows_are_cut_or_repeated(count):
    mesh = distributed.make_mesh(2)
    like = distributed.shard(np.zeros((count, 2), np.float32), mesh)
    found = distributed.with_rows_of(distributed.shard(ROWS, mesh), like)
    np.testing.assert_array_equal(found, ROWS[[0, 1, 2, 3, 3, 3]][:count])
    assert found.sharding == like.sharding


def test_one_process_has_all_rows_and_devices():
    mesh = distributed.make_mesh()
    assert distributed.local_rows(ROWS) is ROWS
    assert distributed.local_mesh(mesh) is mesh
