"""Simple baselines on the token map; section 3.2 of the paper.

The paper does not define them. Each option names one reading of what it shows; none of
them is claimed to be the paper's.
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
    flatten_tokens,
    uniform_init,
)
from unmute_jax.probes.linear import join_bands
from unmute_jax.tokens import Summary, Tokens

Pooling = Literal["mean", "max"]
Reading = Literal["token_max", "bands"]


class LinPre(Probe):
    """An affine map before the pooling; section 3.2.

    Attributes:
        reading: The reading of the paper. "token_max": the maximum over the clip of the
            logits of every token (the default; it fits the name, and the loss of 7
            points where the mean of the tokens does well). "bands": an affine map of
            the mean over time of the concatenated frequency bands.
    """

    input_kind: ClassVar = "tokens"

    reading: Reading = "token_max"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("reading", Reading)

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
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
    """A convolution over the token map, ReLU, pooling and an affine map; section 3.2.

    The convolution reads zeros outside the map and at masked time steps.

    Attributes:
        kernel_size: The size of the kernel in time and in frequency.
        width: The number of channels after the convolution.
        pooling: "mean" or "max" over the real positions.
    """

    input_kind: ClassVar = "tokens"

    kernel_size: int = 3
    width: int = 256
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("width")
        self.check_choice("pooling", Pooling)

    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        return self.pooled_logits(as_tokens(x), (1, 2))

    def frames(self, x: Tokens) -> Float[Array, "B T C"]:
        """The logits of every time step; the convolution also reads its neighbours."""
        return self.pooled_logits(x, (2,))

    @nn.compact
    def pooled_logits(
        self, tokens: Tokens, axes: tuple[int, ...]
    ) -> Float[Array, "*S C"]:
        """The logits after pooling over time and frequency, or frequency alone."""
        sequence, mask = flatten_tokens(tokens)
        b, t, f, d = tokens.patches.shape
        initialise = uniform_init(d * self.kernel_size**2)
        shape = (self.kernel_size, self.kernel_size, d, self.width)
        kernel = self.param("conv_kernel", initialise, shape)
        bias = self.param("conv_bias", initialise, (self.width,))
        h = jax.nn.relu(
            convolve(sequence.reshape(b, t, f, d), kernel) + bias[None, None, None]
        )
        # Zero is the smallest value after ReLU, so masked positions cannot win.
        real = mask.reshape(b, t, f, 1)
        h = jnp.where(real, h, 0.0)
        if self.pooling == "max":
            return self.classify(h.max(axes))
        count = jnp.maximum(real.sum(axes), 1).astype(jnp.float32)
        return self.classify(h.sum(axes) / count)
