"""The mean and deviation by which BatchNorm without scale and bias normalises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.errors import InputError
from unmute_jax.probes.base import VARIANCE_EPS

# The weight of the new batch in the running statistics, PyTorch's default.
MOMENTUM = 0.1


class BatchStatistics(nn.Module):
    """The mean and inverse standard deviation of each feature, as in BatchNorm.

    In training these are the statistics of the batch, which also update the running
    statistics; otherwise they are the running statistics. On several devices, each uses
    the statistics of its own rows.

    Attributes:
        training: Whether to use the statistics of the batch.
    """

    training: bool

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"]
    ) -> tuple[Float[Array, "D"], Float[Array, "D"]]:
        """The statistics over the positions where `mask` is true."""
        d = x.shape[-1]
        if not (self.is_initializing() or self.has_variable("batch_stats", "mean")):
            raise InputError(
                "batch_norm=True keeps running statistics: give them to the probe as "
                "the collection 'batch_stats', beside 'params'"
            )
        means = self.variable("batch_stats", "mean", jnp.zeros, d)
        variances = self.variable("batch_stats", "var", jnp.ones, d)
        if not self.training:
            return means.value, jax.lax.rsqrt(variances.value + VARIANCE_EPS)
        real = mask[:, :, None]
        count = jnp.maximum(mask.sum(), 1).astype(jnp.float32)
        mean = jnp.where(real, x, 0.0).sum((0, 1)) / count
        squares = jnp.square(x - mean[None, None])
        variance = jnp.where(real, squares, 0.0).sum((0, 1)) / count
        if self.is_mutable_collection("batch_stats"):
            # PyTorch's running variance is the unbiased one.
            unbiased = variance * count / jnp.maximum(count - 1.0, 1.0)
            means.value += MOMENTUM * (mean - means.value)
            variances.value += MOMENTUM * (unbiased - variances.value)
        return mean, jax.lax.rsqrt(variance + VARIANCE_EPS)
