"""Bytes that devices move, read from compiled programs."""

import jax.numpy as jnp
import pytest
from jax import lax

from experiments.benchmarks.moved_bytes import moved_bytes
from unmute_jax import distributed


@pytest.mark.parametrize(
    ("operation", "out", "wanted"),
    [
        # Each of two devices has two rows of three numbers, and a number more.
        (lambda x: lax.psum((x, x.sum()), distributed.BATCH), None, 4 * 6 + 4),
        (lambda x: lax.all_gather(x, distributed.BATCH), None, 4 * 6),
        (lambda x: lax.psum_scatter(x, distributed.BATCH), 0, 4 * 6),
        (lambda x: lax.ppermute(x, distributed.BATCH, [(0, 1), (1, 0)]), 0, 4 * 6),
        (lambda x: 2 * x, 0, 0),
    ],
    ids=["sum", "gather", "scatter", "permute", "nothing"],
)
def test_what_a_device_puts_in_is_counted(operation, out, wanted):
    mesh = distributed.make_mesh(2)
    mapped = distributed.pmapped(operation, mesh, in_axes=(0,), out_axes=out)
    program = mapped.lower(jnp.ones((4, 3))).compile().as_text()
    assert moved_bytes(program) == wanted


def test_a_sum_over_one_device_moves_nothing():
    mapped = distributed.pmapped(
        lambda x: lax.psum(x, distributed.BATCH),
        distributed.make_mesh(1),
        in_axes=(0,),
        out_axes=None,
    )
    program = mapped.lower(jnp.ones((4, 3))).compile().as_text()
    assert "all-reduce(" in program
    assert moved_bytes(program) == 0


def test_what_other_backends_write_is_understood():
    # Asynchronous pairs, tilings, types of operands, groups as number and size.
    program = """
      %a = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
      %b = f8e4m3fn[16]{0} parameter(1)
      %c = (bf16[8,128]{1,0:T(8,128)(2,1)}, bf16[16,128]{1,0}) all-gather-start(%a), \
replica_groups=[1,2]<=[2], dimensions={0}
      %d = bf16[16,128]{1,0:T(8,128)(2,1)} all-gather-done(%c)
      %e = (bf16[8,128]{1,0}, f8e4m3fn[16]{0}) all-reduce(bf16[8,128]{1,0:T(8,128)} \
%a, /*index=1*/f8e4m3fn[16]{0} %b), replica_groups={{0,1}}, to_apply=%sum
      ROOT %f = f8e4m3fn[16]{0} all-reduce(%b), replica_groups=[2,1]<=[2]
    """
    assert moved_bytes(program) == 2048 + (2048 + 16)
