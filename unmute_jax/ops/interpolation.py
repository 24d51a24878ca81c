"""Resizes along one axis as PyTorch does, by a matrix of weights.

Both functions follow `torch.nn.functional.interpolate` with `align_corners` and
`antialias` false: beyond the ends, the outermost samples are repeated. In contrast,
`jax.image.resize` has another cubic kernel (a = -0.5), renormalises at the ends and, by
default, smooths when it shrinks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# The parameter a of PyTorch's cubic convolution kernel.
CUBIC = -0.75


def bicubic(before: int, after: int) -> Float[np.ndarray, "{after} {before}"]:
    """The weights of mode "bicubic": four samples around each point.

    Args:
        before: The number of samples to resize from.
        after: The number of samples to resize to. If it equals `before`, the samples
            are left unchanged.
    """
    return _weights(before, after, _cubic, taps=(-1, 0, 1, 2))


def bilinear(before: int, after: int) -> Float[np.ndarray, "{after} {before}"]:
    """The weights of mode "bilinear"; the arguments are those of `bicubic`."""
    return _weights(before, after, lambda distance: 1 - distance, taps=(0, 1))


def _weights(
    before: int,
    after: int,
    kernel: Callable[[np.ndarray], np.ndarray],
    taps: tuple[int, ...],
) -> np.ndarray:
    points = (np.arange(after) + 0.5) * before / after - 0.5
    weights = np.zeros((after, before))
    for tap in taps:
        sample = np.floor(points).astype(int) + tap
        inside = np.clip(sample, 0, before - 1)
        np.add.at(weights, (np.arange(after), inside), kernel(np.abs(points - sample)))
    return weights.astype(np.float32)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel of Keys with a = `CUBIC`, up to 2 samples away."""
    x, a = distance, CUBIC
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)
