"""Checks arrays that other code has made, and turns them into `Tokens`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from unmute_jax.errors import InputError, unknown_name
from unmute_jax.tokens import Tokens, mean_token

NAMES = ("patches", "cls", "mask")


def as_tokens(name: str, out: Any, clips: int, xp: Any = np) -> Tokens:
    """Turns the output of another encoder or exporter into `Tokens` in float32.

    Args:
        name: The encoder or folder, for error messages.
        out: The patches, a mapping with `patches` and optionally `cls` and `mask`, or
            `Tokens`.
        clips: B.
        xp: The module whose arrays are returned: `numpy`, or `jax.numpy` in a program
            that is being compiled.

    Raises:
        InputError: A name, shape or type is wrong.
    """
    if isinstance(out, Tokens):
        out = {"patches": out.patches, "cls": out.cls, "mask": out.mask}
    elif not isinstance(out, Mapping):
        out = {"patches": out}
    if extra := set(out) - set(NAMES):
        raise unknown_name(f"array of {name}", min(extra), NAMES)
    if "patches" not in out:
        raise InputError(f"{name} gives no patches, only {', '.join(out) or 'nothing'}")
    arrays = {
        k: _array(f"{k} of {name}", v, xp) for k, v in out.items() if v is not None
    }
    patches = _floats(name, "patches", arrays["patches"], xp)
    if patches.ndim == 3:
        patches = patches[:, :, None]
    if patches.ndim != 4 or patches.shape[0] != clips or 0 in patches.shape:
        raise InputError(
            f"{name} gives patches of shape {list(arrays['patches'].shape)} for "
            f"{clips} clips: the shape must be [clips, time, bands, features] or "
            "[clips, time, features]"
        )
    b, t, f, d = patches.shape
    mask = arrays.get("mask", xp.ones((b, t), bool))
    if mask.dtype != bool or mask.shape != (b, t):
        raise InputError(
            f"{name} gives a mask of shape {list(mask.shape)} of {mask.dtype}: it must "
            f"be [clips, time] of bool, {[b, t]} here"
        )
    if "cls" not in arrays:
        everywhere = xp.broadcast_to(mask[:, :, None], (b, t, f))
        return Tokens(
            patches=patches, cls=xp.asarray(mean_token(patches, everywhere)), mask=mask
        )
    cls = _floats(name, "cls", arrays["cls"], xp)
    if cls.shape != (b, d):
        raise InputError(
            f"{name} gives a cls of shape {list(cls.shape)}: it must be [clips, "
            f"features], {[b, d]} here"
        )
    return Tokens(patches=patches, cls=cls, mask=mask)


def check_edges(name: str, edges: Any) -> None:
    """Refuses frequency edges that are not ascending pairs in Hz.

    Raises:
        InputError: The edges are wrong.
    """
    try:
        pairs = [(float(low), float(high)) for low, high in edges]
        is_right = all(0 <= low < high < math.inf for low, high in pairs)
        is_right = is_right and len(pairs) > 0 and pairs == sorted(pairs)
    except (TypeError, ValueError, OverflowError):
        is_right = False
    if not is_right:
        raise InputError(
            f"frequency_edges_hz of {name} must be (low, high) in Hz of each band, "
            f"lowest first; it is {edges!r:.120}"
        )


def _array(what: str, value: Any, xp: Any) -> Any:
    try:
        return xp.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{what} is a {type(value).__name__} that cannot be read as an array "
            f"({str(error).splitlines()[0]:.120}); from PyTorch, give "
            "`x.detach().cpu().float().numpy()`"
        ) from error


def _floats(name: str, what: str, x: Any, xp: Any) -> Any:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"{name} gives {what} of {x.dtype}: it must be floating point")
    return x.astype(xp.float32)
