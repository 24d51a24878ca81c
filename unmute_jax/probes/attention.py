"""Attentive pooling: a weighted mean of the tokens, with learned weights.

Linear maps commute with weighted sums. A key projection belongs to the query, which is
one per clip at most, and a value projection to the pooled vector: no keys or values of
tokens are ever made. `softmax(q . W z) = softmax((W^T q) . z)`, and
`sum_n a_n (V z_n) = V (sum_n a_n z_n)`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float

from unmute_jax.errors import InputError
from unmute_jax.probes.base import (
    VARIANCE_EPS,
    Probe,
    as_tokens,
    einsum,
    mean_token,
    real_positions,
)
from unmute_jax.probes.batch_statistics import BatchStatistics
from unmute_jax.tokens import Summary, Tokens

Origin = Literal["mean", "cls"]
# What the code of SimPool adds so that no base of a power is zero.
GUARD = 1e-6


class Mhca(Probe):
    """Multi-head cross-attention with learned queries; section 3.3.

    `a_h = softmax_n(q_h . k_nh / sqrt(D/H))` with keys and values `W_k z_n`, `W_v z_n`;
    the heads' sums are joined, no output projection. Several queries are averaged.

    Attributes:
        num_heads: H, a divisor of D. The paper's is not known; the parameters do not
            depend on it.
        num_queries: How many queries.
        batch_norm: Tokens first pass a BatchNorm without scale and bias, as in some
            codes. Its running statistics are the collection "batch_stats".
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12
    num_queries: int = 1
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_heads", "num_queries")

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens, mask = real_positions(as_tokens(x))
        d = tokens.shape[-1]
        self.check_divides("num_heads", d, "features")
        heads = (self.num_heads, d // self.num_heads)
        init = nn.initializers.normal(0.02)
        queries = self.param("queries", init, (self.num_queries, d))
        key = self.matrix("key", d, d).reshape(d, *heads)
        value = self.matrix("value", d, d).reshape(d, *heads)
        folded = einsum("dhe,mhe->mhd", key, queries.reshape(-1, *heads))
        mean, inverse_sd = jnp.zeros(d), jnp.ones(d)
        if self.batch_norm:
            norm = BatchStatistics(self.training, name="batch_norm")
            mean, inverse_sd = norm(tokens, mask)
        # Normalising (z - m) / s is linear too; the part with m is one constant for all
        # tokens of a query, which softmax does not see.
        folded = folded * (inverse_sd * heads[1] ** -0.5)[None, None]
        weights = attend(tokens, mask, folded.reshape(-1, d))
        weights = weights.reshape(*weights.shape[:2], self.num_queries, -1).mean(2)
        pooled = einsum("bnh,bnd->bhd", weights, tokens)
        pooled = (pooled - mean[None, None]) * inverse_sd[None, None]
        joined = einsum("bhd,dhe->bhe", pooled, value)
        return self.classify(joined.reshape(-1, d))


class Ep(Probe):
    """Efficient probing: queries meet the raw tokens, without keys; section 3.4.

    `a_m = softmax_n(q_m . z_n / sqrt(D))`; query `m` pools the `m`-th of M equal parts
    of the values `W_v z_n`, of width `D / reduction` in all.

    Attributes:
        num_queries: M. The paper's is not known; 32 is the default of the first code.
        reduction: How many times narrower than the tokens the values are.
        batch_norm: A BatchNorm without scale and bias on the pooled vector. Its running
            statistics are the collection "batch_stats".
    """

    input_kind: ClassVar = "tokens"

    num_queries: int = 32
    reduction: int = 1
    batch_norm: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_queries", "reduction")

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens, mask = real_positions(as_tokens(x))
        d = tokens.shape[-1]
        self.check_divides("reduction", d, "features")
        width = d // self.reduction
        self.check_divides("num_queries", width, "features of the values")
        init = nn.initializers.normal(0.02)
        queries = self.param("queries", init, (self.num_queries, d))
        value = self.matrix("value", d, width).reshape(d, self.num_queries, -1)
        weights = attend(tokens, mask, queries * d**-0.5)
        pooled = einsum("bnm,bnd->bmd", weights, tokens)
        pooled = einsum("bmd,dme->bme", pooled, value).reshape(-1, width)
        if self.batch_norm:
            norm = BatchStatistics(self.training, name="batch_norm")
            mean, inverse_sd = norm(pooled[:, None], mask.any(1, keepdims=True))
            pooled = (pooled - mean[None]) * inverse_sd[None]
        return self.classify(pooled)


class SimPool(Probe):
    """SimPool: the mean of the tokens asks, normalised tokens answer; section 3.5.

    With `z'_n = LayerNorm(z_n)` and `g` the mean of the raw tokens,
    `a = softmax_n(W_q g . W_k z'_n / sqrt(D))`, and the result is `sum_n a_n z'_n`.

    Attributes:
        query: `g`: "mean" of the tokens, or the "cls" token.
        gamma: Above 1, the generalised mean `(sum_n a_n (z'_n - m)^gamma)^(1/gamma)` of
            the later code, with `m` the least entry of all `z'` of the batch, less
            1e-6: what a clip gives then depends on the clips beside it.
    """

    input_kind: ClassVar = "tokens"

    query: Origin = "mean"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("query", Origin)
        if isinstance(self.gamma, bool) or not self.gamma >= 1:
            raise InputError(f"SimPool: gamma must be at least 1, not {self.gamma!r}")

    @property
    def needs_cls(self) -> bool:
        """Where it asks the question."""
        return self.query == "cls"

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        held = as_tokens(x)
        tokens, mask = real_positions(held)
        d = tokens.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (d,))
        bias = self.param("bias", nn.initializers.zeros, (d,))
        query = mean_token(tokens, mask)
        if self.query == "cls":
            query = jnp.asarray(held.cls).astype(jnp.float32)
        query = einsum("bd,de->be", query, self.matrix("query_map", d, d))
        folded = einsum("de,be->bd", self.matrix("key", d, d), query) * d**-0.5
        factor = inverse_spread(tokens)
        weights = answer(tokens, mask, factor, folded[:, None] * scale[None, None])
        if self.gamma > 1:
            values = centred(tokens) * factor[:, :, None] * scale[None, None]
            values = values + bias[None, None]
            return self.classify(self.generalised(weights[:, :, 0], values, mask))
        # The sum of normalised tokens: what is said at `answer` holds for it as well.
        pooled = einsum("bnm,bnd->bmd", weights * factor[:, :, None], tokens)[:, 0]
        return self.classify(centred(pooled) * scale[None] + bias[None])

    def generalised(
        self,
        weights: Float[Array, "B N"],
        values: Float[Array, "B N D"],
        mask: Bool[Array, "B N"],
    ) -> Float[Array, "B D"]:
        """The mean that `gamma` asks for."""
        real = mask[:, :, None]
        least = jnp.min(values, where=real, initial=jnp.inf)
        # Where nothing is real, anything positive does: the weights are even.
        raised = jnp.where(real, values - least + GUARD, 1.0) ** self.gamma
        return einsum("bn,bnd->bd", weights, raised) ** (1 / self.gamma)


class ESimPool(Probe):
    """SimPool without projections, with heads; a variant in the code of section 3.4.

    With `z'_n = LayerNorm(z_n)` and `q = LayerNorm(mean of z_n)`, cut into H heads,
    `a_h = softmax_n(q_h . z'_nh / sqrt(D/H))`, and the result is `sum_n a_hn z_nh`.

    Attributes:
        num_heads: H, a divisor of D.
    """

    input_kind: ClassVar = "tokens"

    num_heads: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_positive("num_heads")

    @nn.compact
    def __call__(self, x: Tokens | Summary) -> Float[Array, "B C"]:
        """Logits."""
        tokens, mask = real_positions(as_tokens(x))
        b, _, d = tokens.shape
        self.check_divides("num_heads", d, "features")
        width = d // self.num_heads
        scale = self.param("scale", nn.initializers.ones, (d,))
        bias = self.param("bias", nn.initializers.zeros, (d,))
        mean = mean_token(tokens, mask)
        query = centred(mean) * inverse_spread(mean)[:, None] * scale[None] + bias[None]
        # One query per head, zero outside of the head's own features.
        own = jnp.repeat(jnp.eye(self.num_heads), width, axis=1)
        folded = (query * scale[None])[:, None] * own[None] * width**-0.5
        weights = answer(tokens, mask, inverse_spread(tokens), folded)
        parts = tokens.reshape(b, -1, self.num_heads, width)
        return self.classify(einsum("bnh,bnhe->bhe", weights, parts).reshape(b, d))


def answer(
    tokens: Float[Array, "B N D"],
    mask: Bool[Array, "B N"],
    factor: Float[Array, "B N"],
    queries: Float[Array, "B M D"],
) -> Float[Array, "B N M"]:
    """Attention of a clip's own queries to its LayerNorm'ed tokens.

    LayerNorm is `scale * (z - mean(z)) * factor + bias`. Taking the mean off the query
    is the same as taking it off every token, the bias adds the same to all scores, and
    `queries` hold the scale already. Only the factor belongs to the token.
    """
    scores = einsum("bnd,bmd->bnm", tokens, centred(queries))
    return masked_softmax(scores * factor[:, :, None], mask)


def attend(
    tokens: Float[Array, "B N D"],
    mask: Bool[Array, "B N"],
    queries: Float[Array, "M D"],
) -> Float[Array, "B N M"]:
    """The weights of the tokens for each query; over the positions they sum to 1."""
    return masked_softmax(einsum("bnd,md->bnm", tokens, queries), mask)


def masked_softmax(
    scores: Float[Array, "B N M"], mask: Bool[Array, "B N"]
) -> Float[Array, "B N M"]:
    """Softmax over the positions where `mask` is true; the others weigh nothing.

    A clip without any real position has equal weights, finite as their gradients.
    """
    least: Any = jnp.finfo(scores.dtype).min
    return jax.nn.softmax(jnp.where(mask[:, :, None], scores, least), axis=1)


def centred(x: Float[Array, "*S D"]) -> Float[Array, "*S D"]:
    """`x` less its mean over the last axis."""
    return x - x.mean(-1, keepdims=True)


def inverse_spread(
    x: Float[Array, "*S D"], eps: float = VARIANCE_EPS
) -> Float[Array, "*S"]:
    """One over the standard deviation over the last axis, guarded as in LayerNorm."""
    return jax.lax.rsqrt(jnp.square(centred(x)).mean(-1) + eps)
