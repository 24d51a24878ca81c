"""What a token store keeps of a batch of tokens, computed on the device."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from unmute_jax.ops.arrays import Arr
from unmute_jax.store.layout import SUMMARY
from unmute_jax.tokens import (
    Tokens,
    dequantise,
    inverse_norms,
    quantise,
    round_to,
    summarise,
)


@functools.partial(jax.jit, static_argnames=("dtype", "steps"))
def kept(tokens: Tokens, dtype: str, steps: int) -> dict[str, Array]:
    """Every array of a store for a batch, and which clips are `finite`.

    Args:
        tokens: Of an encoder.
        dtype: Of the patches, as they are stored.
        steps: Of the store; where the tokens have fewer, masked ones follow.
    """
    tokens = _lengthened(tokens, steps)
    summary = summarise(tokens)
    patches, scales, meant = _stored(tokens.patches, dtype)
    finite = jnp.isfinite(meant).all((1, 2, 3)) & jnp.isfinite(summary.cls).all(1)
    found = {
        "patches": patches,
        "scales": scales,
        "inverse_norms": inverse_norms(meant),
    }
    if tokens.layers is not None and tokens.layer_cls is not None:
        layers, layer_scales, meant = _stored(tokens.layers, dtype)
        layer_cls = jnp.asarray(tokens.layer_cls).astype(jnp.float32)
        found |= {
            "layers": layers,
            "layer_scales": layer_scales,
            "layer_cls": layer_cls,
        }
        for x in (meant, layer_cls):
            finite &= jnp.isfinite(x).reshape(len(x), -1).all(1)
    return {
        **{name: x for name, x in found.items() if x is not None},
        "mask": jnp.asarray(tokens.mask),
        **{name: getattr(summary, name) for name in SUMMARY},
        "finite": finite,
    }


def _stored(x: Arr, dtype: str) -> tuple[Array, Array | None, Array]:
    """As it is stored, the scales beside it, and what both mean."""
    if dtype == "int8":
        q, scales = quantise(x)
        return q, scales, dequantise(q, scales)
    found = round_to(x, dtype)
    return found, None, found


def _lengthened(tokens: Tokens, steps: int) -> Tokens:
    """`tokens` with masked zeros behind them, up to `steps` time steps."""
    missing = steps - tokens.patches.shape[1]
    if missing <= 0:
        return tokens

    def pad(x: Any, axis: int) -> Array:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (0, missing)
        return jnp.pad(jnp.asarray(x), widths)

    return dataclasses.replace(
        tokens,
        patches=pad(tokens.patches, 1),
        mask=pad(tokens.mask, 1),
        layers=None if tokens.layers is None else pad(tokens.layers, 2),
    )
