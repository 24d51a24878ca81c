"""Simple baselines on the map of tokens; section 3.2 of the paper.

The paper's definitions are not known. Each option names one reading of what it shows;
none of them is claimed to be the paper's.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.ops import convolve, max_product
from unmute_jax.probes.base import (
    Probe,
    as_summary,
    as_tokens,
    flat_mask,
    real_positions,
    uniform_init,
)
from unmute_jax.probes.linear import join_bands
from unmute_jax.tokens import Summary, Tokens

Pooling = Literal["mean", "max"]
Reading = Literal["token_max", "bands"]


class LinPre(Probe):
    """An affine map before the pooling; section 3.2.

    Attributes:
        reading: "token_max", logits of every token and their maximum over the clip (the
            default: the name fits, and so does a loss of 7 points where the mean of
            tokens serves well); or "bands", the frequency bands of a time step joined,
            mean over time, affine map.
    """

    input_kind: ClassVar = "tokens"

    reading: Reading = "token_max"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("reading", Reading)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens = as_tokens(x)
        if self.reading == "bands":
            return self.classify(join_bands(as_summary(tokens)))
        b, t, f, d = tokens.patches.shape
        kernel = self.matrix("kernel", d, self.num_classes)
        bias = self.param("bias", uniform_init(d), (self.num_classes,))
        best = max_product(
            jnp.asarray(tokens.patches).reshape(b, t * f, d),
            jnp.ones((b, t * f)),
            flat_mask(tokens),
            kernel.T,
        )
        return best + bias[None]


class Conv(Probe):
    """A convolution over the map, ReLU, pooling, an affine map; section 3.2.

    Outside of the map and where time steps are masked the convolution sees zeros.

    Attributes:
        kernel_size: In time and in frequency.
        width: Channels after the convolution.
        pooling: "mean" or "max" over the real positions.
    """

    input_kind: ClassVar = "tokens"

    kernel_size: int = 3
    width: int = 256
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("kernel_size", "width")
        self.check_choice("pooling", Pooling)

    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        return self.pooled(as_tokens(x), (1, 2))

    def frames(self, x: Tokens) -> Float[Array, "B T C"]:
        """Logits of every time step, whose convolution sees its neighbours."""
        return self.pooled(x, (2,))

    @nn.compact
    def pooled(self, tokens: Tokens, axes: tuple[int, ...]) -> Float[Array, "*S C"]:
        """Logits after pooling over time and frequency, or over frequency alone."""
        sequence, mask = real_positions(tokens)
        b, t, f, d = tokens.patches.shape
        initialise = uniform_init(d * self.kernel_size**2)
        shape = (self.kernel_size, self.kernel_size, d, self.width)
        kernel = self.param("conv_kernel", initialise, shape)
        bias = self.param("conv_bias", initialise, (self.width,))
        h = jax.nn.relu(
            convolve(sequence.reshape(b, t, f, d), kernel) + bias[None, None, None]
        )
        # After ReLU zero is the least value: masked positions cannot win with it.
        real = mask.reshape(b, t, f, 1)
        h = jnp.where(real, h, 0.0)
        if self.pooling == "max":
            return self.classify(h.max(axes))
        count = jnp.maximum(real.sum(axes), 1).astype(jnp.float32)
        return self.classify(h.sum(axes) / count)
