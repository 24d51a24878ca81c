"""Nearest neighbours: a probe that learns nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import InputError
from unmute_jax.ops.arrays import NORM_EPS
from unmute_jax.probes.base import Probe, as_summary, einsum
from unmute_jax.probes.linear import Statistic
from unmute_jax.tokens import Summary, Tokens

# Shares of 0 and 1 would have infinite logits.
LEAST_SHARE = 1e-6
# Clips whose similarities with the whole memory exist at the same time.
CHUNK = 64


class Knn(Probe):
    """The labels of the nearest training clips. Not in the paper; parameter-free.

    Of the `k` training clips with the largest cosine `s` to a clip, each has the weight
    `exp(s / temperature)`; a class scores the share of the weight that has it, and the
    logit is that share's log-odds. Source of form and defaults: Wu et al. 2018 and
    DINO (Caron et al. 2021), whose default of the two is k = 20.

    Attributes:
        input: "cls" or "mean", the vector of a clip.
        neighbours: k; all training clips where there are fewer.
        temperature: Small ones let the nearest clip decide.
    """

    input_kind: ClassVar = "summary"
    is_fitted: ClassVar = True

    input: Statistic = "cls"
    neighbours: int = 20
    temperature: float = 0.07

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("input", Statistic)
        self.check_positive("neighbours")
        if not self.temperature > 0:
            raise InputError(f"Knn: temperature must be above 0: {self.temperature!r}")

    @property
    def needs_cls(self) -> bool:
        """Unless it reads the mean."""
        return self.input == "cls"

    def fit(self, x: Tokens | Summary, labels: Float[Any, "B C"]) -> Any:
        """The variables: unit vectors and labels of all training clips."""
        memory = {"vectors": self.unit(as_summary(x)), "labels": jnp.asarray(labels)}
        return {"params": memory}

    def unit(self, summary: Summary) -> Float[Array, "B D"]:
        """The vector of each clip, scaled to norm 1."""
        vectors = jnp.asarray(getattr(summary, self.input)).astype(jnp.float32)
        squares = jnp.square(vectors).sum(-1, keepdims=True)
        return vectors / jnp.sqrt(jnp.maximum(squares, NORM_EPS**2))

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        if not self.has_variable("params", "vectors"):
            raise InputError("knn has no initial values: fit(summary, labels) makes it")
        vectors = self.get_variable("params", "vectors")
        labels = self.get_variable("params", "labels")
        k = min(self.neighbours, len(vectors))

        def shares(query: Array) -> Array:
            near, place = jax.lax.top_k(einsum("md,d->m", vectors, query), k)
            weights = jax.nn.softmax(near / self.temperature)
            return einsum("k,kc->c", weights, labels[place])

        found = jax.lax.map(shares, self.unit(as_summary(x)), batch_size=CHUNK)
        found = jnp.clip(found, LEAST_SHARE, 1 - LEAST_SHARE)
        return jnp.log(found) - jnp.log1p(-found)
