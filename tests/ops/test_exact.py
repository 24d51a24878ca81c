"""Numbers split into exact parts, and the types in which they are multiplied."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unmute_jax.ops import exact


def test_three_parts_are_the_number_to_its_last_bit():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 40)) * 10.0 ** rng.integers(-20, 20, (50, 40))
    rows = np.r_[rows.ravel(), 0.0, -0.0, 1.0, 3.3e38, -(2.0**24 - 1)].astype(
        np.float32
    )
    parts = jax.jit(lambda x: exact.split_exactly(x, jnp.bfloat16))(rows)
    assert [p.dtype for p in parts] == [jnp.bfloat16] * 3
    total = sum(np.asarray(p, np.float64) for p in parts)
    np.testing.assert_array_equal(total, rows.astype(np.float64))


def test_numbers_that_are_not_finite_stay_so():
    parts = exact.split_exactly(jnp.asarray([jnp.nan, jnp.inf, 1.0]), jnp.bfloat16)
    total = sum(p.astype(jnp.float32) for p in parts)
    np.testing.assert_array_equal(np.isfinite(total), [False, False, True])


@pytest.mark.parametrize("matrix_unit", [False, True])
def test_prototypes_take_a_type_that_loses_nothing(matrix_unit, monkeypatch):
    monkeypatch.setattr(exact, "has_matrix_unit", lambda: matrix_unit)
    f32, bf16 = jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)
    assert exact.bank_dtype(f32, binary=False) == f32
    assert exact.bank_dtype(bf16, binary=False) == f32
    assert exact.bank_dtype(bf16, binary=True) == bf16
    assert exact.bank_dtype(f32, binary=True) == (bf16 if matrix_unit else f32)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_products_of_any_tokens_are_those_of_float32(dtype):
    rng = np.random.default_rng(0)
    rows = jnp.asarray(rng.standard_normal((6, 32), np.float32)).astype(dtype)
    bank = jnp.asarray(np.sign(rng.standard_normal((4, 32), np.float32)))
    wanted = np.asarray(bank, np.float64) @ np.asarray(rows, np.float64).T
    for to in (jnp.float32, jnp.bfloat16):
        if dtype != jnp.float16 or to == jnp.float32:
            parts = exact.split_exactly(rows, to)
            actual = exact.products(bank.astype(to), parts)
            assert actual.dtype == jnp.float32
            np.testing.assert_allclose(actual, wanted, atol=1e-5)
