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
    """Fixed statistics of the tokens of `B` clips, each `[B, D]` float32.

    Mean, max and std run over the real positions (time steps with a true mask, all
    bands). Probes that read nothing else never touch the tokens.
    """

    cls: Float[Arr, "B D"]
    mean: Float[Arr, "B D"]
    max: Float[Arr, "B D"]
    std: Float[Arr, "B D"]


def inverse_norms(patches: Shaped[Arr, "*B D"]) -> Float[Array, "*B"]:
    """`1 / max(|x|, 1e-12)` over the last axis, in float32."""
    squares = jnp.square(jnp.asarray(patches).astype(jnp.float32))
    # max before sqrt: the other way round the gradient at a zero token is NaN.
    return 1.0 / jnp.sqrt(jnp.maximum(squares.sum(-1), NORM_EPS**2))


def summarise(tokens: Tokens) -> Summary:
    """The statistics of `tokens`; masked time steps enter none of them."""
    x = jnp.asarray(tokens.patches).astype(jnp.float32)
    b, t, f, d = x.shape
    x = x.reshape(b, t * f, d)
    real = jnp.repeat(jnp.asarray(tokens.mask), f, axis=1)[:, :, None]
    count = jnp.maximum(real.sum(1), 1).astype(jnp.float32)
    mean = jnp.where(real, x, 0.0).sum(1) / count
    spread = jnp.where(real, jnp.square(x - mean[:, None]), 0.0).sum(1) / count
    peak = jnp.where(real, x, -jnp.inf).max(1)
    return Summary(
        cls=jnp.asarray(tokens.cls).astype(jnp.float32),
        mean=mean,
        max=jnp.where(real.any(1), peak, 0.0),
        std=jnp.sqrt(spread),
    )
