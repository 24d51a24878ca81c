"""k nearest neighbours, a probe without training."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from unmute_jax.errors import InputError
from unmute_jax.ops import NORM_EPS
from unmute_jax.probes.base import VectorProbe, as_summary, einsum
from unmute_jax.tokens import Summary, Tokens

# The default of DINO, and the temperature of Wu et al. 2018 and DINO.
NEIGHBOURS, TEMPERATURE = 20, 0.07
# The smallest share of the weight: the logits of 0 and 1 would be infinite.
LEAST_SHARE = 1e-6
# Number of clips whose similarities with all training clips exist at the same time.
CHUNK = 64


class Knn(VectorProbe):
    """Weighted k nearest neighbours by cosine similarity; not in the paper.

    Each of the `k` training clips with the largest cosine `s` to a clip has the weight
    `exp(s / temperature)`. The score of a class is its share of the weight, and the
    logit is the log-odds of that share. The form and the temperature are those of Wu et
    al. 2018 and DINO (Caron et al. 2021), and so are the default values.

    A run tries several values of what is None, and the validation split chooses.

    Attributes:
        neighbours: The number of neighbours k; all training clips if there are fewer.
            None stands for 20.
        temperature: The temperature of the weights; the smaller it is, the more the
            nearest clips decide. None stands for 0.07.
    """

    input_kind: ClassVar = "summary"
    is_fitted: ClassVar = True

    neighbours: int | None = None
    temperature: float | None = None

    def fit(self, x: Tokens | Summary, labels: Float[Any, "B C"]) -> Any:
        """The variables: the unit vectors and the labels of all training clips."""
        memory = {"vectors": self.unit(as_summary(x)), "labels": jnp.asarray(labels)}
        return {"params": memory}

    def unit(self, summary: Summary) -> Float[Array, "B D"]:
        """The vector of each clip, scaled to norm 1."""
        vectors = jnp.asarray(getattr(summary, self.input)).astype(jnp.float32)
        squares = jnp.square(vectors).sum(-1, keepdims=True)
        return vectors / jnp.sqrt(jnp.maximum(squares, NORM_EPS**2))

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """The logits."""
        if not self.has_variable("params", "vectors"):
            raise InputError("knn has no initial values: fit(summary, labels) makes it")
        vectors = self.get_variable("params", "vectors")
        labels = self.get_variable("params", "labels")
        k = min(self.neighbours or NEIGHBOURS, len(vectors))
        temperature = self.temperature or TEMPERATURE

        def shares_of(query: Array) -> Array:
            near, place = jax.lax.top_k(einsum("md,d->m", vectors, query), k)
            weights = jax.nn.softmax(near / temperature)
            return einsum("k,kc->c", weights, labels[place])

        shares = jax.lax.map(shares_of, self.unit(as_summary(x)), batch_size=CHUNK)
        shares = jnp.clip(shares, LEAST_SHARE, 1 - LEAST_SHARE)
        return jnp.log(shares) - jnp.log1p(-shares)
