"""What a frozen encoder gives for a batch of clips."""

from __future__ import annotations

import dataclasses

import flax.struct
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

Arr = Array | np.ndarray

# Guard of every L2 normalisation x / max(|x|, eps); paper section 3.8.
NORM_EPS = 1e-12


@flax.struct.dataclass
class Tokens:
    """The token maps of `B` clips.

    Attributes:
        patches: `[B, T, F, D]`, time first; F = 1 where there is no frequency axis.
        cls: `[B, D]`; the mean over patches where the encoder has no class token.
        mask: `[B, T]`, true for real time steps. All true by default, as in the paper.
        inverse_norms: `[B, T, F]`, `1 / max(|patch|, 1e-12)` in float32, or None when
            nobody has computed them yet (`with_inverse_norms` does).
        layers: `[B, L, T, F, D]`, the output of every block before any final norm, when
            asked for.
        layer_cls: `[B, L, D]`, likewise.
    """

    patches: Shaped[Arr, "B T F D"]
    cls: Shaped[Arr, "B D"]
    mask: Bool[Arr, "B T"]
    inverse_norms: Float[Arr, "B T F"] | None = None
    layers: Shaped[Arr, "B L T F D"] | None = None
    layer_cls: Shaped[Arr, "B L D"] | None = None

    def with_inverse_norms(self) -> Tokens:
        """The same tokens with their inverse norms beside them."""
        if self.inverse_norms is not None:
            return self
        return dataclasses.replace(self, inverse_norms=inverse_norms(self.patches))


@flax.struct.dataclass
class Summary:
    """Fixed statistics of the tokens of `B` clips, in float32.

    Probes that read nothing else never touch the tokens. Masked time steps enter none
    of them.

    Attributes:
        cls: `[B, D]`, the class token.
        mean: `[B, D]`, over all positions; likewise `max` and `std`.
        band_mean: `[B, F, D]`, over time within each frequency band; likewise
            `band_max` and `band_std`.
    """

    cls: Float[Arr, "B D"]
    mean: Float[Arr, "B D"]
    max: Float[Arr, "B D"]
    std: Float[Arr, "B D"]
    band_mean: Float[Arr, "B F D"]
    band_max: Float[Arr, "B F D"]
    band_std: Float[Arr, "B F D"]


def inverse_norms(patches: Shaped[Arr, "*B D"]) -> Float[Array, "*B"]:
    """`1 / max(|x|, 1e-12)` over the last axis, in float32."""
    squares = jnp.square(jnp.asarray(patches).astype(jnp.float32))
    # max before sqrt: the other way round the gradient at a zero token is NaN.
    return 1.0 / jnp.sqrt(jnp.maximum(squares.sum(-1), NORM_EPS**2))


def mean_token(
    patches: Float[Arr, "B T F D"], mask: Bool[Arr, "B T F"]
) -> Float[Array, "B D"]:
    """Mean over the tokens in `mask`: what stands in for a missing class token."""
    count = jnp.maximum(mask.sum((1, 2)), 1).astype(jnp.float32)
    counted = jnp.where(jnp.asarray(mask)[..., None], patches, 0.0)
    return counted.sum((1, 2)) / count[:, None]


def summarise(tokens: Tokens) -> Summary:
    """The statistics of `tokens`; a clip without any real time step has zeros."""
    x = jnp.asarray(tokens.patches).astype(jnp.float32)
    mean, peak, std = _statistics(x, jnp.asarray(tokens.mask), (1, 2))
    band_mean, band_peak, band_std = _statistics(x, jnp.asarray(tokens.mask), (1,))
    return Summary(
        cls=jnp.asarray(tokens.cls).astype(jnp.float32),
        mean=mean,
        max=peak,
        std=std,
        band_mean=band_mean,
        band_max=band_peak,
        band_std=band_std,
    )


def _statistics(
    x: Array, mask: Array, axes: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Mean, maximum and standard deviation of `[B, T, F, D]` over `axes`."""
    real = mask[:, :, None, None]
    weight = jnp.broadcast_to(real, (*x.shape[:3], 1)).astype(jnp.float32)
    count = jnp.maximum(weight.sum(axes, keepdims=True), 1.0)
    mean = jnp.where(real, x, 0.0).sum(axes, keepdims=True) / count
    # Two passes: the mean of squares would lose small deviations from a large mean.
    square = jnp.where(real, jnp.square(x - mean), 0.0).sum(axes, keepdims=True)
    peak = jnp.where(real, x, -jnp.inf).max(axes)
    return (
        mean.squeeze(axes),
        jnp.where(jnp.isfinite(peak), peak, 0.0),
        jnp.sqrt((square / count).squeeze(axes)),
    )
