"""Exact products with prototypes of +1 and -1 on units that multiply bfloat16."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# A float32 number has 24 significant bits, a bfloat16 number 8.
PARTS = 3


def bank_dtype(tokens: Any, *, binary: bool) -> Any:
    """The type in which prototypes are multiplied by tokens of type `tokens`.

    Binary prototypes, +1 and -1, are exact in any type and take the type of the tokens.
    Where bfloat16 matrices are multiplied much faster than float32 ones, float32 tokens
    are split into bfloat16 parts (`split_exactly`) and the prototypes are bfloat16.
    Other prototypes are float32.
    """
    if not binary:
        return jnp.float32
    if tokens == jnp.float32 and has_matrix_unit():
        return jnp.bfloat16
    return tokens


def split_exactly(rows: Array, dtype: Any) -> list[Array]:
    """Splits `rows` into arrays of type `dtype` whose sum is exact, largest first.

    A float32 number is the sum of three bfloat16 numbers: its leading 8 bits, the next
    8 and the last 8. Their products with +1 or -1 are exact and are summed in float32,
    as those of the whole number would be. On a CPU with AMX the three products take
    about 0.6 times as long as the float32 product.
    """
    if rows.dtype != jnp.float32 or dtype != jnp.bfloat16:
        return [rows.astype(dtype)]
    parts: list[Array] = []
    for _ in range(PARTS):
        bits = lax.bitcast_convert_type(rows, jnp.uint32)
        # The bits are cut off, not rounded: the remainder then never needs more bits.
        leading = (bits >> 16).astype(jnp.uint16)
        parts.append(lax.bitcast_convert_type(leading, jnp.bfloat16))
        rows -= lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    return parts


def products(bank: Array, parts: list[Array]) -> Array:
    """`bank @ rows.T` in float32, shape `[P, R]`, with `rows` the sum of `parts`."""
    # Small terms are added first, so that their sum is not lost in rounding.
    terms = [
        lax.dot_general(
            bank,
            part,
            (((1,), (1,)), ((), ())),
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )
        for part in reversed(parts)
    ]
    return functools.reduce(jnp.add, terms)


@functools.cache
def has_matrix_unit() -> bool:
    """Whether the computation runs on a CPU with a bfloat16 matrix unit (AMX).

    Only Linux reports this. Elsewhere, and on accelerators, where splitting was never
    measured, the answer is False, which costs time but not accuracy.
    """
    if jax.default_backend() != "cpu":
        return False
    try:
        return "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def as_bits(tokens: Array) -> Array:
    """On CPU, bfloat16 tokens as integers of the same bits; other tokens unchanged.

    XLA has no bfloat16 slices on CPU: to slice an array it first converts the whole
    array to float32. Integers of the same size are sliced directly. Nothing is copied
    if the caller made the tokens from integers in the same program.
    """
    if jax.default_backend() == "cpu" and tokens.dtype == jnp.bfloat16:
        return lax.bitcast_convert_type(tokens, jnp.uint16)
    return tokens


def from_bits(bits: Array, dtype: Any) -> Array:
    """The inverse of `as_bits`: an array of type `dtype`."""
    if bits.dtype == dtype:
        return bits
    return lax.bitcast_convert_type(bits, dtype)
