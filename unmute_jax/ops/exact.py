"""Products with prototypes of +1 and -1 on units that multiply bfloat16 matrices."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

# A float32 number has 24 bits, a bfloat16 number 8.
PARTS = 3


def bank_type(tokens: Any, *, binary: bool) -> Any:
    """The type in which prototypes meet tokens of the type `tokens`.

    Prototypes of +1 and -1 lose nothing in any type. They take that of the tokens; and
    where bfloat16 matrices are multiplied much faster than float32 ones, float32 tokens
    come in parts (`as_parts`) to meet them in bfloat16. Others are float32.
    """
    if not binary:
        return jnp.float32
    if tokens == jnp.float32 and has_matrix_unit():
        return jnp.bfloat16
    return tokens


def as_parts(rows: Array, dtype: Any) -> list[Array]:
    """Arrays of `dtype` that sum to `rows` exactly, largest first.

    A float32 number is the sum of three bfloat16 numbers: its leading 8 bits, the next
    8, the last 8. Their products with +1 or -1 are exact and summed in float32, as
    those of the whole number would be. On a CPU with AMX the three products take about
    0.6 times as long as the one of float32.
    """
    if rows.dtype != jnp.float32 or dtype != jnp.bfloat16:
        return [rows.astype(dtype)]
    parts: list[Array] = []
    for _ in range(PARTS):
        bits = lax.bitcast_convert_type(rows, jnp.uint32)
        # Cut off, not rounded: what is left never needs more bits than it has.
        leading = (bits >> 16).astype(jnp.uint16)
        parts.append(lax.bitcast_convert_type(leading, jnp.bfloat16))
        rows -= lax.bitcast_convert_type(bits & jnp.uint32(0xFFFF0000), jnp.float32)
    return parts


def products(bank: Array, parts: list[Array]) -> Array:
    """`bank @ rows.T`, `[P, R]` float32, where `rows` is the sum of `parts`."""
    # The small ones first, so that their sum is not rounded away.
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
    """Whether we compute on a CPU that multiplies bfloat16 matrices as such (AMX).

    Linux says so; elsewhere the answer is no, which costs time and nothing else. So it
    is on accelerators, where the parts were never measured.
    """
    if jax.default_backend() != "cpu":
        return False
    try:
        return "amx_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def as_stored(tokens: Array) -> Array:
    """On CPU, bfloat16 tokens as the integers that hold them.

    XLA has no bfloat16 slices there: for a part of an array it widens all of it to
    float32 first. Integers of the same size it takes as they are. Where the caller made
    the tokens from integers, in the same program, nothing is copied.
    """
    if jax.default_backend() == "cpu" and tokens.dtype == jnp.bfloat16:
        return lax.bitcast_convert_type(tokens, jnp.uint16)
    return tokens


def as_floats(stored: Array, dtype: Any) -> Array:
    """The way back from `as_stored`."""
    if stored.dtype == dtype:
        return stored
    return lax.bitcast_convert_type(stored, dtype)
