"""Counts of multiply-adds."""

import jax
import jax.numpy as jnp
import numpy as np

from unmute_jax.ops import count_multiply_adds


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, np.float32)


def test_products_are_counted_in_nested_functions_and_gradients():
    def product(a, b):
        return a @ b

    assert count_multiply_adds(product, shape(3, 4), shape(4, 5)) == 60
    assert count_multiply_adds(jax.jit(product), shape(3, 4), shape(4, 5)) == 60
    total = jax.grad(lambda a, b: product(a, b).sum(), argnums=(0, 1))
    assert count_multiply_adds(total, shape(3, 4), shape(4, 5)) == 3 * 60

    def batched(a, b):
        return jnp.einsum("bij,bjk->bik", a, b)

    assert count_multiply_adds(batched, shape(7, 3, 4), shape(7, 4, 5)) == 7 * 60


def test_loops_count_every_iteration_and_branches_once():
    def loop(a, b):
        return jax.lax.scan(lambda c, _: (c @ b, None), a, None, length=7)[0]

    assert count_multiply_adds(loop, shape(4, 4), shape(4, 4)) == 7 * 64

    def branch(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a)

    assert count_multiply_adds(branch, shape(4, 4), shape(4, 4)) == 64


def test_convolutions_count_their_kernel_at_every_position():
    def convolved(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers
        )

    count = count_multiply_adds(convolved, shape(2, 8, 8, 3), shape(3, 3, 3, 5))
    assert count == 2 * 8 * 8 * 5 * 3 * 3 * 3
